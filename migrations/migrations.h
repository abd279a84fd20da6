#pragma once
namespace postrider { int latest_service_schema_version(); }

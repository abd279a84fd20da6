// Templates of subjects in the configuration file.
#pragma once

#include <string>
#include <vector>

namespace postrider {

// Throws Failure(kConfiguration) unless `subject` is a subject once its placeholders are filled,
// and each is one of `known`, where "column:NAME" stands for a column of any name. `where` begins
// the message.
void require_subject(const std::string& where, const std::string& subject,
                     const std::vector<std::string>& known);

}  // namespace postrider

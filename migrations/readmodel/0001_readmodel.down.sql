-- Takes all read models' cursors with it: afterwards they can only be rebuilt.
DROP SCHEMA postrider CASCADE;
-- The group roles stay: other databases of the cluster may use them.

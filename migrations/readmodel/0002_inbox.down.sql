-- Takes the claims with it: afterwards every event that is delivered again is worked on again.
DROP FUNCTION postrider.inbox_forget(text, interval);
DROP FUNCTION postrider.inbox_claim(text, text);
DROP TABLE postrider.inbox;

DROP FUNCTION postrider.inbox_claim(text, text);
DROP TABLE postrider.inbox;

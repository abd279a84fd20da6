-- What this service keeps: one row a customer.
CREATE TABLE invoice (
  customer text   PRIMARY KEY,
  orders   bigint NOT NULL,
  cents    bigint NOT NULL
);

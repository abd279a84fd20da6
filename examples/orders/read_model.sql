-- Another service's read model of the orders: made in a schema of its own by `postrider apply`. Adding up is not
-- idempotent, and need not be.
CREATE TABLE account_orders (account int PRIMARY KEY, orders bigint NOT NULL, cents bigint NOT NULL);

CREATE FUNCTION apply_orders(events postrider.event[]) RETURNS void LANGUAGE sql AS $$
  INSERT INTO account_orders AS a
    SELECT (payload ->> 'account')::int, count(*), sum((payload ->> 'cents')::bigint) FROM unnest(events) GROUP BY 1
  ON CONFLICT (account) DO UPDATE SET orders = a.orders + excluded.orders, cents = a.cents + excluded.cents
$$;

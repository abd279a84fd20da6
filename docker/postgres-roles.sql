-- The roles of docs/operating.md, made when the database is made. Passwords are for this example.
CREATE ROLE postrider_writer NOLOGIN;
CREATE ROLE postrider_relay NOLOGIN;
CREATE ROLE owner LOGIN PASSWORD 'owner';
CREATE ROLE relay LOGIN REPLICATION PASSWORD 'relay' IN ROLE postrider_relay, pg_read_all_stats;
CREATE ROLE app LOGIN PASSWORD 'app' IN ROLE postrider_writer;
GRANT CREATE ON DATABASE shop TO owner;
GRANT CREATE ON SCHEMA public TO app;
DO $$
DECLARE f regprocedure;
BEGIN
  FOR f IN SELECT oid::regprocedure FROM pg_proc
    WHERE proname = 'pg_logical_emit_message' AND pronamespace = 'pg_catalog'::regnamespace
  LOOP
    EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO owner', f);
  END LOOP;
END
$$;

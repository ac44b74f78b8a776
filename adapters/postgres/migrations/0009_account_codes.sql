-- What an account is called, out of the log: for who reads of an account that its own read model has not come to yet, as
-- of one that was opened in the very commit that is read. A code never changes.
CREATE FUNCTION daybook.account_code(of_account uuid)
RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT convert_from(payload, 'UTF8')::json ->> 'code' FROM daybook.events
    WHERE stream = of_account AND version = 1 AND name ^@ 'account.opened.';
$$;

-- Any point of the past in fewer looks, and by several workers where a whole book is read.

-- The number of an account's last posting at or before a position, 0 when there is none. Positions grow with the numbers,
-- about evenly: every other look is where it would be if they did so exactly, and one in the middle bounds their count.
CREATE FUNCTION daybook.number_at(of_account uuid, at_position bigint)
RETURNS bigint LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    low      bigint := 0;
    low_at   bigint := 0;
    above    bigint;
    above_at bigint;
    look     bigint;
    look_at  bigint;
    halve    boolean := false;
BEGIN
    SELECT number, position INTO above, above_at FROM daybook.postings
        WHERE account = of_account ORDER BY number DESC LIMIT 1;
    IF above IS NULL OR above_at <= at_position THEN
        RETURN coalesce(above, 0);
    END IF;
    WHILE above - low > 1 LOOP
        IF halve THEN
            look := (low + above) / 2;
        ELSE
            look := low + ((above - low) * ((at_position - low_at)::float8 / (above_at - low_at)))::bigint;
            look := greatest(low + 1, least(above - 1, look));
        END IF;
        halve := NOT halve;
        SELECT position INTO look_at FROM daybook.postings WHERE account = of_account AND number = look;
        IF look_at <= at_position THEN
            low := look;
            low_at := look_at;
        ELSE
            above := look;
            above_at := look_at;
        END IF;
    END LOOP;
    RETURN low;
END $$;

CREATE OR REPLACE FUNCTION daybook.totals_at(of_account uuid, at_position bigint)
RETURNS SETOF daybook.postings LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT * FROM daybook.postings WHERE account = of_account AND number = daybook.number_at(of_account, at_position);
$$;

ALTER FUNCTION daybook.head() PARALLEL SAFE;
ALTER FUNCTION daybook.position_at(timestamptz) PARALLEL SAFE;

-- What is set aside, which is asked for by itself: ordinary postings are not in it and do not pay for it.
CREATE INDEX postings_pending ON daybook.postings (account, number) WHERE pending;

-- What the console shows at a glance and could not count in time, and who is logged in.

-- Events by the minute in which they were recorded (minutes since 1970) and what they came to. The
-- transaction that records a batch adds it up here: one row for each outcome, however large it is.
-- One transaction folds at a time, so nobody waits for these rows.
create table event_minutes (
    minute   integer not null,
    outcome  text    not null check (outcome in ('applied', 'unchanged', 'parked', 'ignored', 'duplicate')),
    events   integer not null,
    -- When the newest of them was recorded, in milliseconds since 1970.
    last_at  integer not null,
    primary key (minute, outcome)
);

-- By which signing secret events were last proven, so that an old one can be left out. Of a secret
-- only the last four characters are kept.
create table signing_secret_uses (
    last4    text    not null primary key,
    -- In milliseconds since 1970.
    used_at  integer not null
);

-- Who is logged in. What the browser holds is not kept; this is its SHA-256, keyed with the token that
-- was given for it, so that a copy of this table opens nothing, and another token ends every session.
create table console_sessions (
    cookie_hash blob    not null primary key,
    -- In seconds since 1970.
    expires_at  integer not null
);

-- The directory: who may ask, and where a code goes. Every row that decides one of the two
-- carries a MAC under a key outside the database; auth checks it before it sends (DESIGN 5).

CREATE TABLE workspaces (
    id            text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 64),  -- the host application's id
    name          text NOT NULL,                       -- shown in messages
    main_email    text NOT NULL,                       -- the address of record
    owner         text,                                -- login id of the primary login; it may be put later
    group_address boolean NOT NULL DEFAULT false,      -- several people read main_email
    mac_key       smallint NOT NULL,                   -- id of the row key
    mac           bytea NOT NULL,                      -- over every column above
    updated_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE logins (
    workspace  text NOT NULL,
    id         text NOT NULL CHECK (length(id) BETWEEN 1 AND 64),  -- unique within the workspace
    email      text,                                   -- the person's own address, if any
    phone      text,                                   -- the person's own number in E.164, if any
    channel    text NOT NULL DEFAULT 'email' CHECK (channel IN ('email', 'sms')),  -- where codes go first
    role       text NOT NULL CHECK (role IN ('administrator', 'member')),  -- the owner stands in workspaces alone
    locale     text NOT NULL DEFAULT '',
    mac_key    smallint NOT NULL,
    mac        bytea NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace, id),
    CHECK (channel = 'email' OR phone IS NOT NULL)
);

-- Countries to whose numbers nothing is sent for now, although the settings allow them. A row here
-- can only stop messages, so it needs no MAC; the operator writes it, and create reads it.
CREATE TABLE sms_countries (
    region     text PRIMARY KEY CHECK (region ~ '^[A-Z]{2}$'),  -- ISO 3166-1
    stopped_at timestamptz NOT NULL DEFAULT now(),
    reason     text NOT NULL DEFAULT ''
);

CREATE TABLE front_ends (
    id         text PRIMARY KEY,                       -- first half of the API key
    name       text NOT NULL,
    key_hash   bytea NOT NULL,                         -- HMAC of the secret half under a key outside the database
    key_id     smallint NOT NULL,                      -- id of that key
    scopes     text[] NOT NULL,                        -- challenges, directory
    workspaces text[],                                 -- NULL: all
    mac_key    smallint NOT NULL,
    mac        bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The number of a challenge stream stands in every handle and is never used again.
CREATE SEQUENCE stream_numbers AS smallint MINVALUE 1 MAXVALUE 32767 NO CYCLE;

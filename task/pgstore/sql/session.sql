-- The lock of a worker is an advisory lock whose key is a hash of 64 bits of the worker's id, with
-- the schema as its seed, so that no number that a crash gives out again leads to another worker's
-- lock. Of 10,000 workers two have the same key with a probability of 3 in 10^12; then the second
-- one has no lock, and lives by its lease.

-- name: TakeLocks
-- Takes the locks of the workers $1, and answers with those that it got.
select id from unnest($1::text[]) as id where pg_try_advisory_lock(hashtextextended(id collate "C", '@.'::regnamespace::oid::bigint))

-- name: RecordLocks
-- Writes that the locks of the workers $1 are evidence when they have been free for $2
-- microseconds, or that they are none if that is zero.
update @.workers set boot = case when $2 > 0 then pg_postmaster_start_time() end, confirm = $2
where id = any ($1) and not dead
	and (boot is distinct from case when $2 > 0 then pg_postmaster_start_time() end or confirm <> $2)

-- name: ReleaseLocks
-- Lets go of the locks of the workers $1.
select pg_advisory_unlock(hashtextextended(id collate "C", '@.'::regnamespace::oid::bigint)) from unnest($1::text[]) as id

-- name: WithdrawLocks
-- Records that the locks of the workers $1 are no evidence.
update @.workers set boot = null where id = any ($1) and boot is not null and not dead

-- name: SessionSettings
-- Makes a session notice a vanished peer, and never end for idling. A vanished peer is noticed
-- after 20 s and not before a usual lease has run out: it may be alive, and cut off. The settings
-- that this version of the server does not know are left out.
select set_config(name, value, false) from (values
	('statement_timeout', '3s'), ('lock_timeout', '1s'), ('idle_session_timeout', '0'), ('client_connection_check_interval', '5s'),
	('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '20000'),
	('application_name', 'lastcall locks')) as s(name, value) join pg_catalog.pg_settings using (name)

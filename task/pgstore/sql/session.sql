-- A worker is recognised by the session of its process: by a name that nobody can guess, which is
-- the session's application_name, and by the role that has logged in. When the server has no
-- session with that name and role, the process has ended or has lost its connection. Every role may
-- read the name, but a session of another role does not count. No lock is used: any role could take
-- it.

-- name: RecordSession
-- Records that the session $3, with its connection $4, is that of the workers $1, and is evidence
-- of their death when it has been gone for $2 microseconds. Zero means that it is never evidence.
with own as materialized (
	select usesysid as role from pg_stat_get_activity(pg_backend_pid())
)
update @.workers set boot = case when $2::bigint > 0 then pg_postmaster_start_time() end, confirm = $2::bigint, session = $3::text, connection = $4::bigint, role = own.role from own
where id = any ($1::text[]) and not dead
	and (boot is distinct from case when $2::bigint > 0 then pg_postmaster_start_time() end or confirm <> $2::bigint
		or session is distinct from $3::text or connection <> $4::bigint or workers.role is distinct from own.role)

-- name: WithdrawSession
-- Records that the session of the workers $1, whose connection $2 was lost, is no evidence. Once
-- the session is back and recorded this changes nothing, however late it comes.
update @.workers set boot = null where id = any ($1::text[]) and connection <= $2::bigint and boot is not null and not dead

-- name: SessionSettings
-- Gives a session its name. The session never ends for being idle, and notices a vanished peer. It
-- does so after 20 s, and not before a usual lease has run out: the peer may be alive, and only cut
-- off. Settings that this version of the server does not have are left out.
select set_config(name, value, false) from (values
	('search_path', 'pg_catalog, pg_temp'), ('statement_timeout', '3s'), ('lock_timeout', '1s'), ('idle_session_timeout', '0'),
	('client_connection_check_interval', '5s'), ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'),
	('tcp_user_timeout', '20000'), ('application_name', $1::text)) as s(name, value) join pg_catalog.pg_settings using (name)

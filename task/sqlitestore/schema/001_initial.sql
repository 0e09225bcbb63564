-- Times are microseconds since 1970. README.md in the folder of the package shows a task's way
-- through the tables.

-- tasks has what was submitted. A row is written once, and removed with everything that belongs to
-- it. Only a new task that replaces this one updates it.
create table tasks (
	n        integer primary key, -- identifies the task in the other tables
	id       text    not null unique,
	created  integer not null,
	kind     text    not null,
	queue    text    not null,
	key      text    not null,    -- '' for none
	priority integer not null,
	run_at   integer not null,    -- when it may be claimed first
	meta     text,                -- a JSON object of texts, null for none
	parent   text,                -- reserved: null
	batch    text,
	schedule text,
	payload  blob    not null
) strict;

create index tasks_created on tasks (created, id);
create index tasks_key on tasks (key, created, id) where key <> '';

-- keys has the keys of the tasks that have not ended.
create table keys (
	task integer primary key,
	kind text not null,
	key  text not null,
	unique (kind, key)
) strict;

-- windows has the keys that are held for a time, whatever happens to the task with which they came.
create table windows (
	kind  text    not null,
	key   text    not null,
	id    text    not null, -- the id of that task
	until integer not null,
	primary key (kind, key)
) strict, without rowid;

create index windows_until on windows (until);

-- replaced has the tasks whose payloads are not those with which they were added.
create table replaced (
	task  integer primary key,
	first blob    not null, -- the hash of the first payload, with which a repeated submit is compared
	by    text    not null  -- the id of the new task that replaced it last
) strict;

-- waiting has the tasks that no worker has. Tasks with due = 1 can be claimed, in the order of the
-- index by kind or by queue; the others wait for their time.
create table waiting (
	task              integer primary key,
	id                text    not null,
	kind              text    not null,
	queue             text    not null,
	due               integer not null,
	suspicion         integer not null default 0, -- the group of a suspect, 0 for all others
	suspect           integer not null generated always as (suspicion <> 0) stored,
	priority          integer not null,
	interrupted       integer not null default 0,
	run_at            integer not null,
	since             integer not null,           -- since when it has its status
	run               integer not null default 0, -- the last run
	runs              integer not null default 0,
	attempts          integer not null default 0,
	interruptions     integer not null default 0,
	crashes           integer not null default 0,
	crash_streak      integer not null default 0,
	interrupt_streak  integer not null default 0,
	max_attempts      integer not null default 0, -- the limits of the last run
	max_crashes       integer not null default 0,
	max_interruptions integer not null default 0,
	reason            text    not null default '',
	error             text    not null default '',
	-- Its first claim must come before this time, null for no such time.
	start_before      integer
) strict;

create index expiring on waiting (start_before) where start_before is not null;
create index ready_by_kind on waiting (kind, suspect, priority desc, interrupted desc, run_at, id) where due = 1;
create index ready_by_queue on waiting (kind, suspect, queue, priority desc, interrupted desc, run_at, id) where due = 1;
create index ready_by_group on waiting (suspicion, kind, priority desc, interrupted desc, run_at, id) where due = 1 and suspicion <> 0;
create index ready_interrupted on waiting (kind, priority desc, run_at, id) where due = 1 and interrupted = 1 and suspect = 0;
create index delayed on waiting (run_at) where due = 0;
create index interrupted on waiting (task) where interrupted = 1;

-- running has the runs that have not ended. The row is the fence: a change for another run or
-- another worker changes nothing. reason and error are those of the run before.
create table running (
	task              integer primary key,
	run               integer not null,
	runs              integer not null,
	worker            text    not null,
	host              text    not null,
	pid               integer not null,
	started           integer not null,
	run_at            integer not null,
	suspicion         integer not null,
	attempts          integer not null,
	interruptions     integer not null,
	crashes           integer not null,
	crash_streak      integer not null,
	interrupt_streak  integer not null,
	max_attempts      integer not null,
	max_crashes       integer not null,
	max_interruptions integer not null,
	reason            text    not null,
	error             text    not null,
	-- The retention of the kind, null for none: see retention.go.
	keep              text,
	command           text    not null default '' -- the command to the run: cancel or interrupt
) strict;

create index commands on running (worker) where command <> '';
create index crashed on running (worker) where crash_streak > 0;

-- ended has the tasks that have ended, with their last run.
create table ended (
	task              integer primary key,
	created           integer not null, -- when the task was created, for listings
	ended             integer not null,
	status            text    not null,
	reason            text    not null,
	error             text    not null,
	run               integer not null,
	runs              integer not null,
	worker            text    not null,
	host              text    not null,
	pid               integer not null,
	started           integer not null,
	run_at            integer not null,
	crashed           integer not null,
	reclaimed         integer not null,
	attempts          integer not null,
	interruptions     integer not null,
	crashes           integer not null,
	crash_streak      integer not null,
	interrupt_streak  integer not null,
	max_attempts      integer not null,
	max_crashes       integer not null,
	max_interruptions integer not null,
	expires           integer, -- when it is to be removed; null: it has no retention of its own
	result            blob
) strict;

create index ended_first on ended (ended, task) where expires is null;
create index expires_first on ended (expires, task) where expires is not null;
create index kept_first on ended (ended, task) where expires is not null;
create index unsuccessful_first on ended (status, ended, task) where status <> 'succeeded';
create index unsuccessful on ended (status, created, task) where status <> 'succeeded';

-- counts has how many rows of ended have each status.
create table counts (
	queue  text    not null,
	kind   text    not null,
	status text    not null,
	n      integer not null,
	primary key (queue, kind, status)
) strict, without rowid;

-- runs has the runs that did not end their task, and those of ended tasks that a retry has made
-- wait again.
create table runs (
	task      integer not null,
	run       integer not null,
	worker    text    not null,
	host      text    not null,
	pid       integer not null,
	started   integer not null,
	ended     integer not null,
	status    text    not null,
	reason    text    not null,
	error     text    not null,
	crashed   integer not null,
	reclaimed integer not null,
	primary key (task, run)
) strict, without rowid;

-- checkpoints and logs have what the runs of a task have saved and logged.
create table checkpoints (
	task       integer primary key,
	checkpoint blob,
	fraction   real,
	message    text
) strict;

create table logs (
	task integer primary key,
	body blob not null
) strict;

-- steps has what is recorded of the steps of a task: their results, or their positions.
create table steps (
	task    integer not null,
	name    text    not null,
	place   integer not null, -- the place in the order of steps, 0 for a skipped step
	state   text    not null, -- done, open or skipped
	version text    not null, -- the version of the program that recorded it, '' for none
	run     integer not null, -- the run that recorded it, 0 for none
	saved   integer not null,
	body    blob,
	primary key (task, name)
) strict;

-- asked has the commands that people have given for tasks.
create table asked (
	task     integer not null,
	at       integer not null,
	verb     text    not null,
	asked_by text    not null,
	reason   text    not null,
	primary key (task, at)
) strict, without rowid;

-- workers has the registered workers. A row is removed when its worker has stopped or is dead, and
-- holds no run.
create table workers (
	id       text    not null primary key,
	name     text    not null,
	host     text    not null,
	pid      integer not null,
	kinds    text    not null,
	queues   text    not null,
	slots    integer not null,
	lease    integer not null, -- microseconds
	seq      integer not null,
	state    text    not null,
	unresponsive text not null default '[]',
	paused   text    not null default '[]', -- the kinds that it does not claim at present, and why
	since    integer not null,
	boot     text    not null, -- the boot in which the lock was taken, '' if there is none
	dead     integer not null default 0,
	evidence integer not null default 0,
	suspects integer not null default 0, -- how many suspects it held when it was marked dead
	split    text    not null default '' -- the id of the task at which their second half began
) strict, without rowid;

create table paused (queue text not null primary key) strict, without rowid;

-- schedule_sets has the sets of schedules. A generation is one version of the content of a set,
-- with a new id.
create table schedule_sets (
	name       text    not null primary key,
	generation text    not null,
	revision   integer not null,
	digest     text    not null,
	former     text    not null, -- a JSON list of the earlier digests, the newest last
	salt       text    not null, -- goes into the ids of the tasks
	beats      integer not null, -- grows while a process with this generation runs
	heard      integer not null  -- when it last grew
) strict, without rowid;

-- schedules has the schedules of the sets' present generations. A tick compares tick, and sets the
-- next tick.
create table schedules (
	schedule_set text    not null,
	name         text    not null,
	tick         integer,          -- the next tick, null if there is none
	-- Equals tick, or is later while the tick waits for the end of last_task.
	due          integer,
	paused       integer not null default 0,
	last         integer,          -- the tick that made last_task
	last_task    text    not null default '',
	timing       text    not null,
	words        text    not null,
	template     blob    not null,
	primary key (schedule_set, name)
) strict, without rowid;

create index schedules_due on schedules (schedule_set, due) where due is not null;

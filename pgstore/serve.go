package pgstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// lockKey is the advisory lock of a worker, for statements: a hash of 64 bits of the worker's id, so
// that no number that a crash gives out again leads to somebody else's lock. The schema is the seed.
// Of 10,000 workers two have the same key with a probability of 3 in 10^12; then the second one has
// no lock, and lives by its lease.
func lockKey(id string) string {
	return `hashtextextended(` + id + ` collate "C", '@.'::regnamespace::oid::bigint)`
}

// syncSQL takes the locks of the workers $1, and writes of them, and of the workers $2 whose locks
// are held, that the lock is evidence when it has been free for $3 microseconds, or that it is none
// if that is zero. It answers with the process of the session, and each of the workers.
var syncSQL = `
with held as materialized (
	select id from unnest($1::text[]) as id where pg_try_advisory_lock(` + lockKey("id") + `)
	union all
	select id from unnest($2::text[]) as id
), recorded as (
	update @.workers w set boot = case when $3 > 0 then pg_postmaster_start_time() end, confirm = $3
	from held where w.id = held.id and not w.dead
		and (w.boot is distinct from case when $3 > 0 then pg_postmaster_start_time() end or w.confirm <> $3)
)
select pg_backend_pid()::text, null
union all
select null, id from held`

// unlockSQL lets go of the locks of the workers $1.
var unlockSQL = `select pg_advisory_unlock(` + lockKey("id") + `) from unnest($1::text[]) as id`

// withdrawSQL says that the locks of the workers $1 are no evidence.
const withdrawSQL = `update @.workers set boot = null where id = any ($1) and boot is not null and not dead`

// sessionSettingsSQL makes a session notice a vanished peer, and never end for idling. A vanished
// peer is noticed after 20 s and not before a usual lease has run out: it may be alive, and cut off.
// The settings that this version of the server does not know are left out.
const sessionSettingsSQL = `select set_config(name, value, false) from (values
	('statement_timeout', '3s'), ('lock_timeout', '1s'), ('idle_session_timeout', '0'), ('client_connection_check_interval', '5s'),
	('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '5'), ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '20000'),
	('application_name', 'lastcall locks')) as s(name, value) join pg_catalog.pg_settings using (name)`

// serve connects and serves until something fails.
func (s *session) serve(ctx context.Context) (err error) {
	if s.cfg.pooling == pooledByTransaction {
		return errPooled
	}
	conn, pid, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // what matters has been said
	}()
	s.spare.close()
	s.cfg.onConnect()
	for {
		missing, err := s.syncLocks(ctx, conn, pid)
		if err != nil {
			return err
		}
		if err := s.serveQueue(ctx, conn); err != nil {
			return err
		}
		if err := s.listen(ctx, conn, missing); err != nil {
			return err
		}
	}
}

// connect makes a connection and has it take the locks. All that is said on it goes to the server
// together, so that a worker far away is back after a few round trips.
func (s *session) connect(ctx context.Context) (*pgx.Conn, uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.timeout)
	defer cancel()
	began := time.Now()
	conn, err := s.cfg.dial(ctx)
	if err != nil {
		return nil, 0, err
	}
	take, _, _ := s.difference()
	pid, held, err := s.introduce(ctx, conn, take)
	if err == nil && s.cfg.pooling == unpooled && pid != conn.PgConn().PID() {
		err = errPooled
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close(ctx))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.since = phaseUp, time.Now()
	s.confirm = confirmAfter(time.Since(began))
	s.setHeld(held)
	s.recordAgain() // with the time that has just been measured
	s.dirty = true
	s.broadcast()
	return conn, pid, nil
}

// confirmAfter is for how long a lock must have been free to be evidence, of a worker that took so
// long to connect; zero where it never is.
func confirmAfter(took time.Duration) time.Duration {
	if took > slowConnect {
		return 0
	}
	return min(max(minConfirm, (3*took).Round(confirmStep)), maxConfirm)
}

// introduce makes the settings, listens, and takes locks, in one round trip.
func (s *session) introduce(ctx context.Context, conn *pgx.Conn, take []string) (pid uint32, held []string, err error) {
	ids, err := conn.TypeMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, take, nil)
	if err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	confirm := s.confirm
	s.mu.Unlock()
	micros := []byte(strconv.FormatInt(confirm.Microseconds(), 10))
	var batch pgconn.Batch
	batch.ExecParams(sessionSettingsSQL, nil, nil, nil, nil)
	batch.ExecParams(`listen `+pgx.Identifier{s.cfg.channel}.Sanitize(), nil, nil, nil, nil)
	batch.ExecParams(s.sql(syncSQL), [][]byte{ids, []byte("{}"), micros},
		[]uint32{pgtype.TextArrayOID, pgtype.TextArrayOID, pgtype.Int8OID}, nil, nil)
	batch.ExecParams(`select pg_is_in_recovery()`, nil, nil, nil, nil)
	results, err := conn.PgConn().ExecBatch(ctx, &batch).ReadAll()
	if err != nil {
		return 0, nil, err
	}
	for _, row := range results[2].Rows {
		if row[0] == nil {
			held = append(held, string(row[1]))
			continue
		}
		n, err := strconv.ParseUint(string(row[0]), 10, 32)
		if err != nil {
			return 0, nil, err
		}
		pid = uint32(n)
	}
	if string(results[3].Rows[0][0]) == "t" {
		return 0, nil, errReadOnly
	}
	return pid, held, nil
}

// difference says which locks are to be taken, which are held and not recorded, and which are to be
// let go.
func (s *session) difference() (take, record, drop []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
	for worker, l := range s.locks {
		switch {
		case l.wanted && !l.held:
			take = append(take, worker)
		case l.wanted && !l.recorded:
			record = append(record, worker)
		case !l.wanted && l.held:
			drop = append(drop, worker)
		}
	}
	return take, record, drop
}

// syncLocks takes the locks that are wanted, records them, and lets go of the others. A lock that a
// neighbour is just probing is missing, and is tried again soon.
func (s *session) syncLocks(ctx context.Context, conn *pgx.Conn, pid uint32) (missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	take, record, drop := s.difference()
	if len(take)+len(record) > 0 {
		s.mu.Lock()
		confirm := s.confirm
		s.mu.Unlock()
		held, err := s.sync(ctx, conn, pid, take, record, confirm)
		if err != nil {
			return false, err
		}
		s.mu.Lock()
		s.setHeld(held)
		s.broadcast()
		s.mu.Unlock()
		missing = len(held) < len(take)+len(record)
	}
	if len(drop) > 0 {
		if _, err := conn.Exec(ctx, s.sql(unlockSQL), pgx.QueryExecModeExec, drop); err != nil {
			return false, err
		}
		s.mu.Lock()
		s.dropped(drop)
		s.mu.Unlock()
	}
	return missing, nil
}

// sync runs syncSQL and checks that the session is still the same one.
func (s *session) sync(ctx context.Context, conn *pgx.Conn, pid uint32, take, record []string, confirm time.Duration) (held []string, err error) {
	rows, err := conn.Query(ctx, s.sql(syncSQL), pgx.QueryExecModeExec, orEmpty(take), orEmpty(record), confirm.Microseconds())
	if err != nil {
		return nil, err
	}
	var process, worker *string
	_, err = pgx.ForEachRow(rows, []any{&process, &worker}, func() error {
		switch {
		case worker != nil:
			held = append(held, *worker)
		case *process != strconv.FormatUint(uint64(pid), 10):
			return fmt.Errorf("%w: another session answers than the one that has the locks", errPooled)
		}
		return nil
	})
	return held, err
}

// setHeld notes the locks that are held and recorded; s.mu is held.
func (s *session) setHeld(workers []string) {
	for _, worker := range workers {
		if l := s.locks[worker]; l != nil {
			l.held, l.recorded = true, true
			continue
		}
		s.locks[worker] = &workerLock{held: true} // let go of meanwhile
		s.dirty = true
	}
}

// dropped notes the locks that are free; s.mu is held.
func (s *session) dropped(workers []string) {
	for _, worker := range workers {
		if l := s.locks[worker]; l.wanted {
			l.held = false // asked for again meanwhile
			s.dirty = true
		} else {
			delete(s.locks, worker)
		}
	}
	s.broadcast()
}

// listen waits for an announcement, for a request, for a change of the locks, or for some time. After
// a long one the locks are recorded again, which asks whether the server is still there, and whether
// it is the same session.
func (s *session) listen(ctx context.Context, conn *pgx.Conn, missing bool) error {
	patience := 30 * time.Second // the kernel notices a vanished server sooner
	if s.cfg.pooling != unpooled {
		patience = 5 * time.Second
	}
	if missing {
		patience = missingPause
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.mu.Lock()
	if s.dirty || len(s.queue) > 0 {
		cancel()
	}
	s.interrupt = cancel
	s.mu.Unlock()
	n, err := conn.WaitForNotification(waiting)
	switch {
	case err == nil:
		s.cfg.onNotify(n.Payload)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case waiting.Err() == nil:
		return err // the connection's, not the wait's
	case missing || errors.Is(waiting.Err(), context.Canceled):
		return nil
	}
	s.mu.Lock()
	s.recordAgain()
	idle := len(s.locks) == 0
	s.mu.Unlock()
	if !idle {
		return nil
	}
	asking, done := context.WithTimeout(ctx, requestPatience)
	defer done()
	return conn.Ping(asking)
}

// sql puts the schema's name into a statement.
func (s *session) sql(text string) string { return withSchema(text, s.cfg.schema) }

// withSchema puts the quoted name of a schema into a statement.
func withSchema(text, ident string) string {
	return strings.ReplaceAll(strings.ReplaceAll(text, "'@.'", "'"+ident+"'"), "@.", ident+".")
}

func orEmpty(list []string) []string { return slices.Clip(append([]string{}, list...)) }

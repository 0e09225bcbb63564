package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

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
	check := time.Now().Add(firstCheck)
	for {
		if !time.Now().Before(check) {
			if err := s.check(ctx, conn, pid); err != nil {
				return err
			}
			check = time.Now().Add(s.checkEvery())
		}
		missing, err := s.syncLocks(ctx, conn)
		if err != nil {
			return err
		}
		if err := s.serveQueue(ctx, conn); err != nil {
			return err
		}
		if err := s.listen(ctx, conn, missing, time.Until(check)); err != nil {
			return err
		}
	}
}

// checkEvery is how often the session is checked: whether the server is still there, which the
// kernel notices sooner, how long it takes to answer, and whether the workers' rows still name
// their locks. A pooler that does not keep what it promised is noticed by it too.
func (s *session) checkEvery() time.Duration {
	if s.cfg.pooling != unpooled {
		return 5 * time.Second
	}
	return 30 * time.Second
}

// check asks the server for a sign of life, and has all locks recorded once more.
func (s *session) check(ctx context.Context, conn *pgx.Conn, pid uint32) error {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	began := time.Now()
	now, err := backendPID(ctx, conn)
	if err != nil {
		return err
	}
	if now != pid {
		return fmt.Errorf("%w: another session answers than the one that has the locks", errPooled)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.trust == unsteady && time.Since(s.since) >= s.cfg.steady {
		s.trust = trusted
	}
	if s.trust == trusted {
		s.confirm = confirmAt(time.Since(began))
	}
	s.recordAgain()
	return nil
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
	take, _ := s.difference()
	pid, held, err := s.introduce(ctx, conn, take)
	if err == nil && s.cfg.pooling == unpooled && pid != conn.PgConn().PID() {
		err = errPooled
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close(ctx))
	}
	s.setHeld(held)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.phase, s.since = phaseUp, time.Now()
	if s.confirm = confirmAfter(time.Since(began)); s.confirm == 0 {
		s.trust = farAway
	}
	if s.trust != trusted {
		s.confirm = 0
	}
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

// confirmAt is the same of a worker whose requests take so long now: connecting may take eight
// times as long, with TLS and a password.
func confirmAt(roundTrip time.Duration) time.Duration {
	return confirmAfter(min(8*roundTrip, slowConnect))
}

// noteRoundTrip has neighbours wait for longer when the network has become slower.
func (s *session) noteRoundTrip(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if confirm := confirmAt(took); s.confirm > 0 && confirm > s.confirm {
		s.confirm = confirm
		s.recordAgain()
		s.dirty = true
	}
}

// introduce makes the settings, listens, and takes locks, in one round trip.
func (s *session) introduce(ctx context.Context, conn *pgx.Conn, take []string) (pid uint32, held []string, err error) {
	ids, err := conn.TypeMap().Encode(pgtype.TextArrayOID, pgtype.TextFormatCode, take, nil)
	if err != nil {
		return 0, nil, err
	}
	var batch pgconn.Batch
	batch.ExecParams(s.cfg.statements.SessionSettings, nil, nil, nil, nil)
	batch.ExecParams(`listen `+pgx.Identifier{s.cfg.channel}.Sanitize(), nil, nil, nil, nil)
	batch.ExecParams(`select pg_backend_pid(), pg_is_in_recovery()`, nil, nil, nil, nil)
	batch.ExecParams(s.cfg.statements.TakeLocks, [][]byte{ids}, []uint32{pgtype.TextArrayOID}, nil, nil)
	results, err := conn.PgConn().ExecBatch(ctx, &batch).ReadAll()
	if err != nil {
		return 0, nil, err
	}
	about := results[2].Rows[0]
	n, err := strconv.ParseUint(string(about[0]), 10, 32)
	if err == nil && string(about[1]) == "t" {
		err = errReadOnly
	}
	for _, row := range results[3].Rows {
		held = append(held, string(row[0]))
	}
	return uint32(n), held, err
}

// difference returns the locks that are to be taken, and those that are to be let go.
func (s *session) difference() (take, drop []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
	for worker, l := range s.locks {
		switch {
		case l.wanted && !l.held:
			take = append(take, worker)
		case !l.wanted && l.held:
			drop = append(drop, worker)
		}
	}
	return take, drop
}

// unrecorded returns the workers whose locks are held, and not in their rows, and what is to be
// written there.
func (s *session) unrecorded() (workers []string, confirm time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for worker, l := range s.locks {
		if l.held && !l.recorded {
			workers = append(workers, worker)
		}
	}
	return workers, s.confirm
}

// syncLocks takes the locks that are wanted, records them, and lets go of the others. What is
// missing is tried again soon: a lock that a neighbour is just probing, or a row that somebody has
// locked.
func (s *session) syncLocks(ctx context.Context, conn *pgx.Conn) (missing bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	take, drop := s.difference()
	if len(take) > 0 {
		rows, err := conn.Query(ctx, s.cfg.statements.TakeLocks, pgx.QueryExecModeExec, take)
		if err != nil {
			return false, err
		}
		held, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return false, err
		}
		s.setHeld(held)
		missing = len(held) < len(take)
	}
	if len(drop) > 0 {
		if _, err := conn.Exec(ctx, s.cfg.statements.ReleaseLocks, pgx.QueryExecModeExec, drop); err != nil {
			return false, err
		}
		s.setDropped(drop)
	}
	recorded, err := s.record(ctx, conn)
	return missing || !recorded, err
}

// record writes of the locks that are held that they are evidence, unless somebody's lock is in the
// way.
func (s *session) record(ctx context.Context, conn *pgx.Conn) (done bool, err error) {
	workers, confirm := s.unrecorded()
	if len(workers) == 0 {
		return true, nil
	}
	_, err = conn.Exec(ctx, s.cfg.statements.RecordLocks, pgx.QueryExecModeExec, workers, confirm.Microseconds())
	if isRowError(err) {
		return false, nil
	}
	if err == nil {
		s.setRecorded(workers, confirm)
	}
	return err == nil, err
}

// setHeld notes the locks that are held.
func (s *session) setHeld(workers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, worker := range workers {
		if s.locks[worker] == nil { // let go of meanwhile
			s.locks[worker] = new(workerLock)
			s.dirty = true
		}
		s.locks[worker].held = true
	}
	s.broadcast()
}

// setDropped notes the locks that are free.
func (s *session) setDropped(workers []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, worker := range workers {
		if l := s.locks[worker]; l.wanted {
			l.held, l.recorded = false, false // asked for again meanwhile
			s.dirty = true
		} else {
			delete(s.locks, worker)
		}
	}
	s.broadcast()
}

// setRecorded notes what has been written of some locks.
func (s *session) setRecorded(workers []string, confirm time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, worker := range workers {
		if l := s.locks[worker]; l != nil {
			l.recorded = confirm == s.confirm
		}
	}
	s.broadcast()
}

// listen waits for an announcement, for a request, for a change of the locks, or for some time.
func (s *session) listen(ctx context.Context, conn *pgx.Conn, missing bool, patience time.Duration) error {
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
	}
	return nil
}

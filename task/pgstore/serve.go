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
		recorded, err := s.record(ctx, conn)
		if err != nil {
			return err
		}
		if err := s.serveQueue(ctx, conn); err != nil {
			return err
		}
		if err := s.listen(ctx, conn, !recorded, time.Until(check)); err != nil {
			return err
		}
	}
}

// checkEvery is how often the session is checked: whether the server is still there, which the
// kernel notices sooner, how long it takes to answer, and whether the workers' rows still name it.
// A pooler that does not keep what it promised is noticed by it too.
func (s *session) checkEvery() time.Duration {
	if s.cfg.pooling != unpooled {
		return 5 * time.Second
	}
	return 30 * time.Second
}

// check asks the server for a sign of life, and has the session recorded once more.
func (s *session) check(ctx context.Context, conn *pgx.Conn, pid uint32) error {
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	began := time.Now()
	now, err := backendPID(ctx, conn)
	if err != nil {
		return err
	}
	if now != pid {
		return fmt.Errorf("%w: another session answers than the one that was made", errPooled)
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

// connect makes a connection and gives it the session's name. All that is said on it goes to the
// server together, so that a worker far away is back after a few round trips.
func (s *session) connect(ctx context.Context) (*pgx.Conn, uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.timeout)
	defer cancel()
	began := time.Now()
	conn, err := s.cfg.dial(ctx)
	if err != nil {
		return nil, 0, err
	}
	pid, err := s.introduce(ctx, conn)
	if err == nil && s.cfg.pooling == unpooled && pid != conn.PgConn().PID() {
		err = errPooled
	}
	if err != nil {
		return nil, 0, errors.Join(err, conn.Close(ctx))
	}
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

// confirmAfter is for how long a session must have been gone to be evidence that took so long to
// connect; zero where it never is.
func confirmAfter(took time.Duration) time.Duration {
	if took > slowConnect {
		return 0
	}
	return min(max(minConfirm, (3*took).Round(confirmStep)), maxConfirm)
}

// confirmAt is the same of one whose requests take so long now: connecting may take eight
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

// introduce makes the settings, the session's name among them, and listens, in one round trip.
func (s *session) introduce(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	var batch pgconn.Batch
	batch.ExecParams(s.cfg.statements.SessionSettings, [][]byte{[]byte(s.name)}, []uint32{pgtype.TextOID}, nil, nil)
	batch.ExecParams(`listen `+pgx.Identifier{s.cfg.channel}.Sanitize(), nil, nil, nil, nil)
	batch.ExecParams(`select pg_catalog.pg_backend_pid(), pg_catalog.pg_is_in_recovery()`, nil, nil, nil, nil)
	results, err := conn.PgConn().ExecBatch(ctx, &batch).ReadAll()
	if err != nil {
		return 0, err
	}
	about := results[2].Rows[0]
	n, err := strconv.ParseUint(string(about[0]), 10, 32)
	if err == nil && string(about[1]) == "t" {
		err = errReadOnly
	}
	return uint32(n), err
}

// unrecorded returns the workers whose rows do not name the session as it is, and what is to be
// written there.
func (s *session) unrecorded() (workers []string, confirm time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
	for worker, recorded := range s.recorded {
		if !recorded {
			workers = append(workers, worker)
		}
	}
	return workers, s.confirm
}

// record writes that the session is evidence for its workers. A row that somebody has locked is
// tried again soon.
func (s *session) record(ctx context.Context, conn *pgx.Conn) (done bool, err error) {
	workers, confirm := s.unrecorded()
	if len(workers) == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	_, err = conn.Exec(ctx, s.cfg.statements.RecordSession, pgx.QueryExecModeExec, workers, confirm.Microseconds(), s.name)
	if isRowError(err) {
		return false, nil
	}
	if err == nil {
		s.setRecorded(workers, confirm)
	}
	return err == nil, err
}

// setRecorded notes what has been written of some workers.
func (s *session) setRecorded(workers []string, confirm time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, worker := range workers {
		if _, known := s.recorded[worker]; known {
			s.recorded[worker] = confirm == s.confirm
		}
	}
	s.broadcast()
}

// listen waits for an announcement, for a request, for something to record, or for some time.
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

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
		_ = conn.Close(closing) // nothing is lost with the connection
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

// checkEvery returns how often the session is checked:
//
//   - whether the server is still there, which the kernel usually notices sooner;
//   - how long the server takes to answer;
//   - whether the workers' rows still name the session;
//   - whether a pooler in session mode really keeps the session.
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
	took := time.Since(began)
	near := s.trust == farAway && estimate(took) <= slowConnect // it was the machine that was slow
	if near || s.trust == unsteady && time.Since(s.since) >= s.cfg.steady {
		s.trust = trusted
	}
	if s.trust == trusted {
		s.confirm = confirmAt(took)
	}
	s.recordAgain()
	return nil
}

// connect opens a connection and gives it the name of the session. All its statements go to the
// server together, so that even a worker far away is back after a few round trips.
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
	s.connection++
	if s.confirm = confirmAfter(time.Since(began)); s.confirm == 0 {
		s.trust = farAway
	}
	if s.trust != trusted {
		s.confirm = 0
	}
	s.broadcast()
	return conn, pid, nil
}

// confirmAfter returns how long a session must have been gone to be evidence, for one that took so
// long to connect. Zero means that it is never evidence.
func confirmAfter(took time.Duration) time.Duration {
	if took > slowConnect {
		return 0
	}
	return min(max(minConfirm, (3*took).Round(confirmStep)), maxConfirm)
}

// confirmAt returns the same for a session whose requests now take so long.
func confirmAt(roundTrip time.Duration) time.Duration {
	return confirmAfter(min(estimate(roundTrip), slowConnect))
}

// estimate returns how long connecting may take, with TLS and a password, where a request takes so
// long.
func estimate(roundTrip time.Duration) time.Duration { return 8 * roundTrip }

// noteRoundTrip has other workers wait for longer when the network has become slower.
func (s *session) noteRoundTrip(took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if confirm := confirmAt(took); s.confirm > 0 && confirm > s.confirm {
		s.confirm = confirm
		s.recordAgain()
		s.dirty = true
	}
}

// introduce makes the settings, which include the name of the session, and listens for
// announcements, in one round trip.
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

// unrecorded returns the workers whose rows do not describe the session as it is, and the time and
// the number of the connection to write there.
func (s *session) unrecorded() (workers []string, confirm time.Duration, connection int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dirty = false
	for worker, recorded := range s.recorded {
		if !recorded {
			workers = append(workers, worker)
		}
	}
	return workers, s.confirm, s.connection
}

// record writes into the rows of the workers that the session is evidence for them. A row that
// another transaction has locked is tried again soon.
func (s *session) record(ctx context.Context, conn *pgx.Conn) (done bool, err error) {
	workers, confirm, connection := s.unrecorded()
	if len(workers) == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, requestPatience)
	defer cancel()
	_, err = conn.Exec(ctx, s.cfg.statements.RecordSession, pgx.QueryExecModeExec, workers, confirm.Microseconds(), s.name, connection)
	if isRowError(err) {
		return false, nil
	}
	if err == nil {
		s.setRecorded(workers, confirm)
	}
	return err == nil, err
}

// setRecorded notes which workers have been recorded, with which time.
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

// listen waits for an announcement, for a request, for something to record, or until patience is
// over.
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
		return err // the connection failed; the wait was not over
	}
	return nil
}

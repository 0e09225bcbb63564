package pgstore

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/task"
)

// prepared are the statements that a session has prepared.
func prepared(t *testing.T, conn *pgxpool.Conn) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), `select statement from pg_prepared_statements`)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestPrepareOn_DoesNothingButPrepare(t *testing.T) {
	b := newRig(t)
	conn, err := b.store.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `begin`); err != nil {
		t.Fatal(err)
	}
	if err := b.store.prepareOn(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	var written *string
	if err := conn.QueryRow(t.Context(), `select pg_current_xact_id_if_assigned()::text`).Scan(&written); err != nil || written != nil {
		t.Errorf("it has written something, or locked it: transaction %v, %v", written, err)
	}
	if _, err := conn.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	all := prepared(t, conn)
	for _, sql := range []string{b.store.q.Claim, b.store.q.FinishRuns, b.store.q.SaveRuns} {
		if !slices.Contains(all, sql) {
			t.Errorf("not prepared: %.200s", sql)
		}
	}
}

func TestPrepareAhead_PreparesOnTwoConnections(t *testing.T) {
	s := openAt(t, Config{DSN: migrated.DSN(t), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	var conns []*pgxpool.Conn
	for range preparedConnections { // to make one may take longer than preparePatience
		conn, err := s.pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	for _, conn := range conns {
		conn.Release()
	}
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		ready := 0
		for _, conn := range s.pool.AcquireAllIdle(t.Context()) {
			if all := prepared(t, conn); slices.Contains(all, s.q.Claim) && slices.Contains(all, s.q.SaveRuns) {
				ready++
			}
			conn.Release()
		}
		if ready == preparedConnections {
			return
		}
		if time.Since(began) > 20*time.Second {
			t.Fatalf("prepared on %d connections", ready)
		}
	}
}

func TestPrepareAhead_DoesNotHoldUpABusyPool(t *testing.T) {
	t.Parallel()
	cfg, err := pgxpool.ParseConfig(migrated.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = preparedConnections
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	s := openAt(t, Config{Pool: pool, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	busy, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Release()
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); time.Since(began) < 2*preparePatience; {
		asked := time.Now()
		if _, err := s.Count(t.Context(), task.CountQuery{}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(asked); took > 5*time.Second {
			t.Fatalf("a call took %v while a connection was busy", took)
		}
	}
}

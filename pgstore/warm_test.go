package pgstore

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// planned are the statements that a session has planned.
func planned(t *testing.T, conn *pgxpool.Conn) []string {
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

func TestStatementsArePlannedWithoutDoingAnything(t *testing.T) {
	s := openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	if _, err := conn.Exec(t.Context(), `begin`); err != nil {
		t.Fatal(err)
	}
	if err := s.plan(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	var written *string
	if err := conn.QueryRow(t.Context(), `select pg_current_xact_id_if_assigned()::text`).Scan(&written); err != nil || written != nil {
		t.Errorf("planning has written something, or locked it: transaction %v, %v", written, err)
	}
	if _, err := conn.Exec(t.Context(), `rollback`); err != nil {
		t.Fatal(err)
	}
	all := planned(t, conn)
	for _, sql := range []string{s.q.claimOne, s.q.claimMany, s.q.recall, s.q.checkpoint, s.q.finish, s.q.succeed} {
		if !slices.Contains(all, sql) {
			t.Errorf("not planned: %.200s", sql)
		}
	}
}

func TestAStoreWithAWorkerHasItsStatementsPlannedOnTwoConnections(t *testing.T) {
	s := openAt(t, Config{DSN: pgtest.DSN(t), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: 1, State: task.WorkerRunning}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); ; <-tick.C {
		warm := 0
		for _, conn := range s.pool.AcquireAllIdle(t.Context()) {
			if all := planned(t, conn); slices.Contains(all, s.q.claimOne) && slices.Contains(all, s.q.succeed) {
				warm++
			}
			conn.Release()
		}
		if warm == warmConnections {
			return
		}
		if time.Since(began) > 10*time.Second {
			t.Fatalf("planned on %d connections", warm)
		}
	}
}

func TestABusyPoolIsNotHeldUpByPlanning(t *testing.T) {
	cfg, err := pgxpool.ParseConfig(pgtest.DSN(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = warmConnections
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
	began := time.Now()
	for seq := uint64(2); time.Since(began) < 2*warmPatience; seq++ {
		asked := time.Now()
		if _, err := s.Heartbeat(t.Context(), task.Beat{Worker: "w", Seq: seq, State: task.WorkerRunning}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(asked); took > 5*time.Second {
			t.Fatalf("a beat took %v while a connection was busy", took)
		}
	}
}

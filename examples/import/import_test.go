//go:build linux

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

func TestImport_EachRowIsThereOnceHoweverOftenTheProcessIsKilled(t *testing.T) {
	most, kills := 1_000_000, 12
	if testing.Short() {
		t.Log("make test-full: 1,000,000 rows instead of 40,000, and twelve kills instead of four")
		most, kills = 40_000, 4
	}
	// The role has the name of the store's schema, so unqualified names would be looked up there.
	dsn := pgtest.Keywords(pgtest.DSN(t), "search_path", "public")
	binary := filepath.Join(t.TempDir(), "import")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	db, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close(context.WithoutCancel(t.Context())) }()
	hold(t, db, most, kills)
	killed := 0
	for {
		out, how := live(t, db, dsn, binary, most, killed < kills)
		if strings.HasPrefix(out, "succeeded") {
			break
		}
		if how != "signal: killed" {
			t.Fatalf("the process ended with %q and printed %q", how, out)
		}
		killed++
		if _, err := db.Exec(t.Context(), "select pg_advisory_unlock($1)", killed); err != nil {
			t.Fatal(err)
		}
	}
	// A process that is started again after the import has ended imports nothing.
	if out, how := live(t, db, dsn, binary, most, false); !strings.HasPrefix(out, "succeeded") {
		t.Errorf("started again it printed %q and ended with %q", out, how)
	}
	if killed != kills {
		t.Errorf("%d processes were killed, want %d", killed, kills)
	}
	var there, distinct int
	var least, highest float64
	err = db.QueryRow(t.Context(), "select count(*), count(distinct value), min(value), max(value) from readings").Scan(&there, &distinct, &least, &highest)
	if err != nil || there != most || distinct != most || least != 0 || highest != float64(most-1) {
		t.Errorf("%d rows, %d different ones, from %v to %v, %v", there, distinct, least, highest, err)
	}
}

// hold makes the import wait for a lock after each of kills+1 equal parts. The test has these locks
// until it has killed the process, so the import does not end before, however late the test is.
func hold(t *testing.T, db *pgx.Conn, most, kills int) {
	t.Helper()
	for _, statement := range []string{
		"create table readings (at timestamptz not null, sensor integer not null, value double precision not null)",
		fmt.Sprintf(`create function hold() returns trigger language plpgsql as $$ begin
			perform pg_advisory_xact_lock_shared((select count(*) from readings) * %d / %d);
			return null; end $$`, kills+1, most),
		"create trigger hold before insert on readings execute function hold()",
		fmt.Sprintf("select pg_advisory_lock(part) from generate_series(1, %d) part", kills),
	} {
		if _, err := db.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
}

// live starts a process, kills it at some moment after it has begun to write, and returns its
// output and how it ended.
func live(t *testing.T, db *pgx.Conn, dsn, binary string, most int, kill bool) (printed, how string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, "-rows", strconv.Itoa(most))
	cmd.Env = append(os.Environ(), "DATABASE_URL="+dsn)
	var out, log strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &log
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(log.String())
		}
	})
	before := written(ctx, db)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); _ = cmd.Wait() }()
	wait := func(d time.Duration) bool {
		select {
		case <-ended:
			return false
		case <-time.After(d):
			return true
		}
	}
	for kill && written(ctx, db) == before && wait(5*time.Millisecond) {
	}
	if kill && wait(rand.N(50*time.Millisecond)) {
		_ = cmd.Process.Signal(syscall.SIGKILL) // unless it has ended
	}
	<-ended
	return out.String(), cmd.ProcessState.String()
}

// written counts the rows.
func written(ctx context.Context, db *pgx.Conn) (n int) {
	_ = db.QueryRow(ctx, "select count(*) from readings").Scan(&n) // 0 if it fails: then live waits
	return n
}

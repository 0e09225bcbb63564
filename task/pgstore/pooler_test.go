//go:build linux

package pgstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storetest"
)

// pooler starts PgBouncer in a mode before a server, and returns its address.
func pooler(t *testing.T, server *pgtest.Server, mode string) (dsn string) {
	t.Helper()
	program, err := filepath.Abs("../../.bin/pgbouncer")
	if err == nil {
		_, err = os.Stat(program)
	}
	if err != nil {
		if program, err = osexec.LookPath("pgbouncer"); err != nil {
			t.Skip("no PgBouncer: make setup unpacks Debian's into .bin")
		}
	}
	u, err := url.Parse(server.DSN("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "lastcall-pooler-") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "pgbouncer.ini")
	text := fmt.Sprintf("[databases]\n* = user=lastcall host=%s\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = %s\nlisten_port = 6432\nauth_type = any\npool_mode = %s\n"+
		"max_client_conn = 200\nignore_startup_parameters = extra_float_digits\n", u.Query().Get("host"), dir, mode)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := osexec.Command(program, config)
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.SysProcAttr = server.Unprivileged(t, dir, config)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // at once
		if err := cmd.Wait(); err != nil && !errors.As(err, new(*osexec.ExitError)) {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("pgbouncer:\n%s", &log)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	dsn = "postgres://lastcall@/postgres?port=6432&host=" + dir
	for ctx := soon(t); ; {
		c, err := pgx.Connect(ctx, dsn+"&default_query_exec_mode=exec")
		if err == nil {
			if err := c.Close(ctx); err != nil {
				t.Fatal(err)
			}
			return dsn
		}
		if ctx.Err() != nil {
			t.Fatalf("pgbouncer takes no connection: %v\n%s", err, &log)
		}
	}
}

func TestPooler_BehindAPoolerTheStoreKeepsItsRulesByLeaseAlone(t *testing.T) {
	t.Parallel()
	dsn := pooler(t, pgtest.New(t, "fsync=off"), "transaction")
	store := emptyStores(func(t *testing.T) *Store {
		return openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	})
	if testing.Short() {
		t.Log("make test-full: every rule of the store behind a pooler, instead of one whole way")
		s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
		defer closed(t, s)
		if err := wholeWay(t, s, "w"); err != nil {
			t.Error(err)
		}
		findAll(t, s)
		return
	}
	storetest.Run(t, storetest.Engine{Open: store, Reopen: store})
}

func TestPooler_IsNoticedAndNoLockIsBelieved(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	var log bytes.Buffer
	behind := openAt(t, Config{DSN: pooler(t, server, "transaction"), Migrate: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	direct := openAt(t, Config{DSN: server.DSN("postgres")})
	defer closed(t, direct)
	runOne(t, behind)
	if all, err := direct.Workers(context.WithoutCancel(t.Context())); err != nil || len(all) != 1 || all[0].Liveness != task.LivenessUnknown {
		t.Errorf("%+v, %v", all, err)
	}
	closed(t, behind) // its log is complete then
	if !strings.Contains(log.String(), "through a pooler") {
		t.Errorf("the log: %s", &log)
	}
}

func TestPooler_BySessionHoldsLocksAndAnnounces(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	dsn := pooler(t, server, "session")
	var log bytes.Buffer
	behind := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if behind.pooling != pooledBySession {
		t.Errorf("pooling is %d", behind.pooling)
	}
	neighbour := openAt(t, Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, neighbour)
	runOne(t, behind)
	if got := lifeOf(t, neighbour).Liveness; got != task.LivenessAlive {
		t.Errorf("%s, with a session", got)
	}
	var isolation, seqscan string
	if err := behind.pool.QueryRow(t.Context(), `select current_setting('default_transaction_isolation'), current_setting('enable_seqscan')`).Scan(&isolation, &seqscan); err != nil {
		t.Fatal(err)
	}
	if isolation != "read committed" || seqscan != "off" {
		t.Errorf("isolation %s, enable_seqscan %s", isolation, seqscan)
	}
	seen, err := behind.Wait(t.Context(), task.Generations{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := neighbour.Add(t.Context(), []task.NewTask{{ID: testID(2), Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := behind.Wait(soon(t), seen); err != nil {
		t.Error(err)
	}
	behind.end() // as if it had been killed
	if took := untilDead(t, neighbour); took > maxConfirm+busy {
		t.Errorf("its death was certain after %v", took)
	}
	closed(t, behind) // its log is complete then
	if log.Len() > 0 {
		t.Errorf("the log: %s", &log)
	}
}

// Other clients keep the pooler busy, so that sessions change hands all the time.
func TestPoolingOf_TellsTheModesOfABusyPoolerApart(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	for mode, want := range map[string]pooling{"session": pooledBySession, "transaction": pooledByTransaction, "statement": pooledByTransaction} {
		dsn := pgtest.Keywords(pooler(t, server, mode), "default_query_exec_mode", "simple_protocol")
		dial := func(ctx context.Context) (*pgx.Conn, error) { return pgx.Connect(ctx, dsn) }
		ctx, stop := context.WithCancel(t.Context())
		var others sync.WaitGroup
		for range 4 {
			others.Go(func() {
				c, err := dial(ctx)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close(context.WithoutCancel(ctx))
				for ctx.Err() == nil {
					_, _ = c.Exec(ctx, `select pg_sleep(0.001)`) // until it is stopped
				}
			})
		}
		for n := range 20 {
			c, err := dial(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got, err := poolingOf(t.Context(), c, dial); err != nil || got != want {
				t.Errorf("%s mode, try %d: %d, %v, want %d", mode, n, got, err, want)
			}
			if err := c.Close(t.Context()); err != nil {
				t.Error(err)
			}
		}
		stop()
		others.Wait()
	}
}

func TestOpen_RefusesARoleThatAPoolerCannotSetUp(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	dsn := pooler(t, server, "transaction")
	exec(t, server.DSN("postgres"), `alter role lastcall set default_transaction_isolation = 'serializable'`)
	_, err := Open(t.Context(), Config{DSN: dsn, Migrate: true})
	if err == nil || !strings.Contains(err.Error(), "alter role ROLE set default_transaction_isolation = 'read committed'") {
		t.Errorf("%v", err)
	}
}

func TestHeartbeat_BehindAPoolerBeatsDoNotWaitForThePool(t *testing.T) {
	t.Parallel()
	server := pgtest.New(t, "fsync=off")
	s := openAt(t, Config{DSN: pgtest.Keywords(pooler(t, server, "transaction"), "pool_max_conns", "1"), Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	beat := beatAt(t, s, time.Second)
	c, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Release()
	for range 3 {
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if err := beat(short); err != nil {
			t.Error(err)
		}
		cancel()
	}
}

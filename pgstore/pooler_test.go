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
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/storetest"
	"github.com/lastcall-go/lastcall/task"
)

// pooler starts PgBouncer in transaction mode before a server, and returns its address.
func pooler(t *testing.T, server *pgtest.Server) (dsn string) {
	t.Helper()
	program, err := filepath.Abs("../.bin/pgbouncer")
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
	text := fmt.Sprintf("[databases]\n* = user=lastcall host=%s\n[pgbouncer]\nlisten_addr =\nunix_socket_dir = %s\nlisten_port = 6432\nauth_type = any\npool_mode = transaction\n"+
		"max_client_conn = 200\nignore_startup_parameters = extra_float_digits\n", u.Query().Get("host"), dir)
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

func TestBehindAPoolerTheStoreKeepsItsRulesByLeaseAlone(t *testing.T) {
	dsn := pooler(t, pgtest.New(t, "fsync=off"))
	schemas := make(map[string]string)
	store := func(t *testing.T) task.Store {
		if schemas[t.Name()] == "" {
			schemas[t.Name()] = fmt.Sprintf("s%d", len(schemas))
		}
		return openAt(t, Config{DSN: dsn, Schema: schemas[t.Name()], Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	}
	storetest.Run(t, storetest.Engine{Open: store, Reopen: store})
}

func TestAPoolerIsNoticedAndNoLockIsBelieved(t *testing.T) {
	server := pgtest.New(t, "fsync=off")
	var log bytes.Buffer
	behind := openAt(t, Config{DSN: pooler(t, server), Migrate: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	direct := openAt(t, Config{DSN: server.DSN("postgres")})
	defer closed(t, direct)
	runOne(t, behind)
	if all, err := direct.Workers(context.WithoutCancel(t.Context())); err != nil || len(all) != 1 || all[0].Life != task.LifeUnknown {
		t.Errorf("%+v, %v", all, err)
	}
	closed(t, behind) // its log is complete then
	if !strings.Contains(log.String(), "through a pooler") {
		t.Errorf("the log: %s", &log)
	}
}

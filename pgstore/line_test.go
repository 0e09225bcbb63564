package pgstore

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

func TestTheConnectionOfTheLocksOutlivesTheServersLimitsAndNoticesAVanishedPeer(t *testing.T) {
	server := pgtest.New(t, "fsync=off", "statement_timeout=1s", "lock_timeout=1s", "idle_session_timeout=1s", "tcp_keepalives_idle=7200")
	port := server.Listen(t, nil, nil) // a Unix socket has no keepalives
	s := openAt(t, Config{DSN: "postgres://lastcall@127.0.0.1:" + port + "/postgres?sslmode=disable", Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	c, err := s.line.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for name, want := range map[string]string{
		"statement_timeout": "0", "lock_timeout": "0", "idle_session_timeout": "0", "client_connection_check_interval": "5s",
		"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3", "tcp_user_timeout": "10000",
		"application_name": "lastcall locks",
	} {
		var got string
		if err := c.QueryRow(t.Context(), `show `+pgx.Identifier{name}.Sanitize()).Scan(&got); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// The commits of transactions that notify go one by one, through a lock of the whole cluster. One that holds it is made
// to hang in its commit, which waits for a standby that does not exist.
func TestEnqueuingNotifiesNobodyInsideItsTransaction(t *testing.T) {
	server := pgtest.New(t, "fsync=off", "synchronous_standby_names=nobody", "synchronous_commit=local")
	dsn := server.DSN("postgres")
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	client := task.NewClient(s)
	if _, err := client.Enqueue(t.Context(), "k", []byte("1"), nil); err != nil {
		t.Fatal(err)
	}
	release := hangNotify(t, dsn)
	defer release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()

	if _, err := client.Enqueue(ctx, "k", []byte("1"), nil); err != nil {
		t.Errorf("a task: %v", err)
	}
	if _, err := client.Enqueue(ctx, "k", []byte("1"), &task.Options{Key: "key"}); err != nil {
		t.Errorf("a task with a key: %v", err)
	}
	many := make([]task.NewTask, 2*copyFrom)
	for i := range many {
		var err error
		if many[i], err = task.Prepare("k", []byte("1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := client.EnqueueMany(ctx, many); err != nil {
		t.Errorf("many tasks: %v", err)
	}
	c, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		_, err := client.In(Tx(tx)).Enqueue(ctx, "k", []byte("1"), nil)
		return err
	})
	if err != nil {
		t.Errorf("a task in the caller's transaction: %v", err)
	}
	// What would have hung does.
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if _, err := c.Exec(short, `select pg_notify('other', '')`); err == nil {
		t.Error("a transaction that notifies did not wait: this test shows nothing")
	}
}

// hangNotify makes a session hold the lock of the notifications until release is called.
func hangNotify(t *testing.T, dsn string) (release func()) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), `set synchronous_commit = on`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = c.Exec(ctx, `create table public.hang (); notify hang`) // one transaction, which is ended by cancel
	}()
	release = func() {
		cancel()
		<-ended
		_ = c.Close(context.WithoutCancel(t.Context())) // it is broken already
	}
	if !eventually(t, dsn, `select exists (select 1 from pg_stat_activity where wait_event = 'SyncRep')`) {
		release()
		t.Fatal("no session hangs in its commit")
	}
	return release
}

// eventually waits until a question to the server is answered with true.
func eventually(t *testing.T, dsn, question string) bool {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := soon(t); ; <-tick.C {
		var yes bool
		if err := c.QueryRow(t.Context(), question).Scan(&yes); err != nil {
			t.Fatal(err)
		}
		if yes || deadline.Err() != nil {
			return yes
		}
	}
}

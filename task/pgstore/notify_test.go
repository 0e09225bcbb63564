package pgstore

import (
	"context"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/internal/pgtest"
	"github.com/lastcall-go/lastcall/task"
)

// The commits of transactions that notify are serialised by a lock of the whole cluster. A
// transaction that holds the lock is made to hang in its commit, which waits for a standby that
// does not exist.
func TestEnqueue_EnqueuingNotifiesNobodyInsideItsTransaction(t *testing.T) {
	t.Parallel()
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
	if _, err := client.Enqueue(ctx, "k", []byte("1"), &task.EnqueueOptions{Key: "key"}); err != nil {
		t.Errorf("a task with a key: %v", err)
	}
	many := make([]task.NewTask, 2*32)
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
		_, err := client.WithTx(Tx(tx)).Enqueue(ctx, "k", []byte("1"), nil)
		return err
	})
	if err != nil {
		t.Errorf("a task in the caller's transaction: %v", err)
	}
	// A transaction that notifies does hang.
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
		// One transaction, which is ended by cancel.
		_, _ = c.Exec(ctx, `create table public.hang (); notify hang`)
	}()
	release = func() {
		cancel()
		<-ended
		_ = c.Close(context.WithoutCancel(t.Context())) // it is broken already
	}
	if !eventually(t, dsn, `select exists (select 1 from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep')`) {
		release()
		t.Fatal("no session hangs in its commit")
	}
	return release
}

func TestAnnouncer_AnAnnouncementReachesAnotherStore(t *testing.T) {
	dsn := migrated.DSN(t)
	a := openAt(t, Config{DSN: dsn, Migrate: true})
	defer closed(t, a)
	b := openAt(t, Config{DSN: dsn, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, b)
	awaitUp(t, a)
	seen, err := a.Wait(t.Context(), task.Generations{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Add(t.Context(), []task.NewTask{{ID: "00000000-0000-7000-8000-000000000001", Kind: "k"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Wait(soon(t), seen); err != nil {
		t.Error(err)
	}
}

func TestAnnouncer_SaysTheSameThingOnceForManyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said []announcement
		release := make(chan struct{})
		a := newAnnouncer(slog.New(slog.DiscardHandler), nil)
		a.send = func(_ context.Context, payload string) error {
			what, foreign := a.parse(payload)
			if foreign {
				t.Errorf("%q is not known as our own", payload)
			}
			said = append(said, what)
			<-release
			return nil
		}
		life, end := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); a.run(life) }()
		a.announce(announceReady)
		synctest.Wait() // it is being sent
		for range 100 {
			a.announce(announceReady)
			a.announce(announceAsked)
		}
		close(release)
		synctest.Wait()
		slices.Sort(said) // what was asked for meanwhile has no order
		if want := []announcement{announceAsked, announceReady, announceReady}; !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
		end()
		<-ended
	})
}

func TestAnnouncer_SaysTheLastThingBeforeItEnds(t *testing.T) {
	var said []string
	a := newAnnouncer(slog.New(slog.DiscardHandler), func(_ context.Context, payload string) error {
		said = append(said, payload)
		return nil
	})
	life, end := context.WithCancel(t.Context())
	end()
	a.announce(announceReady)
	a.run(life)
	if !slices.Equal(said, []string{"r" + a.nonce}) {
		t.Errorf("said %q", said)
	}
	if _, foreign := a.parse("r" + "other"); !foreign {
		t.Error("another's announcement is taken for our own")
	}
	if what, foreign := a.parse(""); what != "" || !foreign {
		t.Errorf("an empty payload is %q, foreign %v", what, foreign)
	}
}

package pgstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/lastcall-go/lastcall/task"
)

func sqlState(code string) error { return fmt.Errorf("commit: %w", &pgconn.PgError{Code: code}) }

func TestRetry_RepeatsWhatIsUndoneWithPausesThatGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		err := retry(t.Context(), isUndone, func(error) {}, func(context.Context) error {
			at = append(at, time.Since(began))
			return sqlState(codeDeadlock)
		})
		if !isUndone(err) || len(at) != maxAttempts {
			t.Errorf("%d attempts, %v", len(at), err)
		}
		for i, ms := range []int64{0, 2, 7, 17, 37} {
			if got := at[i].Milliseconds(); got < ms || got > 4*ms {
				t.Errorf("attempt %d after %d ms, want %d to %d", i+1, got, ms, 4*ms)
			}
		}
	})
}

func TestRetry_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		attempts := 0
		err := retry(ctx, isUndone, func(error) {}, func(context.Context) error {
			attempts++
			cancel()
			return sqlState(codeSerialization)
		})
		if attempts != 1 || !isUndone(err) {
			t.Errorf("%d attempts, %v", attempts, err)
		}
	})
}

func TestErrors_SayWhatMayBeRepeated(t *testing.T) {
	lost := fmt.Errorf("reading: %w", io.ErrUnexpectedEOF)
	for _, c := range []struct {
		name              string
		err               error
		undone, transient bool
	}{
		{"a deadlock", sqlState(codeDeadlock), true, true},
		{"a serialization failure", sqlState(codeSerialization), true, true},
		{"a standby", sqlState(codeReadOnly), true, true},
		{"an answer that was lost", lost, false, true},
		{"a server that shuts down", sqlState("57P01"), false, true},
		{"a statement that was cancelled", sqlState("57014"), false, false},
		{"a wrong value", sqlState("22P05"), false, false},
		{"a time limit", fmt.Errorf("waiting: %w", context.DeadlineExceeded), false, false},
		{"no server", fmt.Errorf("no: %w", &pgconn.ConnectError{Config: &pgconn.Config{}}), false, false},
		{"a feature that the server lacks", sqlState(codeNotSupported), false, false},
		{"none", nil, false, false},
	} {
		if undone, transient := isUndone(c.err), isTransient(c.err); undone != c.undone || transient != c.transient {
			t.Errorf("%s: undone %v, transient %v, want %v and %v", c.name, undone, transient, c.undone, c.transient)
		}
	}
}

// The server ends the session after the commit, and before the answer is read.
func TestOnce_DoesNotRepeatWhatMayHaveCommitted(t *testing.T) {
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	exec(t, dsn, `create table public.made (n integer)`)
	lose := func(ctx context.Context) error {
		if _, err := s.pool.Exec(ctx, `insert into public.made values (1)`); err != nil {
			return err
		}
		return io.ErrUnexpectedEOF // as if this had been read
	}
	count := func() (n int) {
		t.Helper()
		if err := s.pool.QueryRow(t.Context(), `select count(*) from public.made`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := s.once(t.Context(), lose); !errors.Is(err, io.ErrUnexpectedEOF) || count() != 1 {
		t.Errorf("%d rows, %v", count(), err)
	}
	if err := s.again(t.Context(), lose); err == nil || count() != 1+maxAttempts {
		t.Errorf("%d rows, %v, by what may be repeated", count(), err)
	}
}

func TestAgain_ReadsOnAfterTheServerEndedTheSessions(t *testing.T) {
	dsn := migrated.DSN(t)
	s := openAt(t, Config{DSN: dsn, Migrate: true, Logger: slog.New(slog.DiscardHandler)})
	defer closed(t, s)
	for range 20 {
		if _, err := s.Count(t.Context(), task.CountQuery{}); err != nil {
			t.Fatal(err)
		}
		exec(t, dsn, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()`)
	}
}

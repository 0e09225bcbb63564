package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// openTx is a transaction of one of the two kinds.
type openTx struct {
	task.Tx
	insert           func(ctx context.Context) error
	commit, rollback func(ctx context.Context) error
}

const insertRow = `insert into public.rows values (1)`

func openPgx(ctx context.Context, pool interface {
	Begin(ctx context.Context) (pgx.Tx, error)
}) (openTx, error) {
	tx, err := pool.Begin(ctx)
	if err != nil {
		return openTx{}, err
	}
	insert := func(ctx context.Context) error {
		_, err := tx.Exec(ctx, insertRow)
		return err
	}
	return openTx{Tx: Tx(tx), insert: insert, commit: tx.Commit, rollback: tx.Rollback}, nil
}

func openSQL(ctx context.Context, db *sql.DB) (openTx, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return openTx{}, err
	}
	insert := func(ctx context.Context) error {
		_, err := tx.ExecContext(ctx, insertRow)
		return err
	}
	return openTx{Tx: SQLTx(tx), insert: insert,
		commit: func(context.Context) error { return tx.Commit() }, rollback: func(context.Context) error { return tx.Rollback() }}, nil
}

func TestSaveTx_RowsAndTheCheckpointAreCommittedTogether(t *testing.T) {
	d := newDesk(t)
	for name, begin := range map[string]func(context.Context) (openTx, error){
		"pgx":          func(ctx context.Context) (openTx, error) { return openPgx(ctx, d.pool) },
		"database/sql": func(ctx context.Context) (openTx, error) { return openSQL(ctx, d.db) },
	} {
		t.Run(name, func(t *testing.T) {
			before := d.rows()
			e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			step := func(ctx context.Context, r *task.Run, checkpoint int, commits bool) error {
				tx, err := begin(ctx)
				if err != nil {
					return err
				}
				if err := errors.Join(tx.insert(ctx), r.SaveTx(ctx, tx.Tx, checkpoint)); err != nil {
					return errors.Join(err, tx.rollback(ctx))
				}
				if commits {
					return tx.commit(ctx)
				}
				return tx.rollback(ctx)
			}
			loads := func(r *task.Run, want int) {
				var got int
				if ok, err := r.Load(&got); err != nil || ok != (want != 0) || got != want {
					t.Errorf("loaded %d, %t, %v; want %d", got, ok, err, want)
				}
			}
			got := d.serve(numbered, e.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
				r.Log("a line")
				err := step(ctx, r, 7, false)
				loads(r, 0)
				err = errors.Join(err, step(ctx, r, 1, true))
				loads(r, 1)
				err = errors.Join(err, step(ctx, r, 8, false))
				loads(r, 1)
				err = errors.Join(err, step(ctx, r, 2, true), r.Save(ctx, 3))
				loads(r, 3)
				return err
			})
			log, err := d.client.Log(t.Context(), e.ID)
			if got.Status != task.StatusSucceeded || d.rows()-before != 2 || err != nil || string(log) != "a line\n" {
				t.Errorf("%s, %d rows, error %q, log %q, %v", got.Status, d.rows()-before, got.Error, log, err)
			}
		})
	}
}

// A handler that waits for its own transaction gets an error.
func TestSaveTx_OtherWritesOfTheRunWaitForItsTransactionAndNotForEver(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := d.serve(numbered, e.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
		tx, err := openPgx(ctx, d.pool)
		if err != nil {
			return err
		}
		defer func() { _ = tx.rollback(context.WithoutCancel(ctx)) }() // committed, if all is well
		if err := r.SaveTx(ctx, tx.Tx, 1); err != nil {
			return err
		}
		if err := r.Save(ctx, 2); !errors.Is(err, task.ErrHeldUp) {
			t.Errorf("Save: %v", err)
		}
		var at int
		if _, err := r.Load(&at); err == nil {
			t.Errorf("Load answers %d before it can know", at)
		}
		if err := tx.commit(ctx); err != nil {
			return err
		}
		if _, err := r.Load(&at); err != nil || at != 1 {
			t.Errorf("Load: %d, %v", at, err)
		}
		return r.Save(ctx, 2)
	})
	if got.Status != task.StatusSucceeded {
		t.Errorf("%s: %s", got.Status, got.Error)
	}
}

// A task that saves only in transactions makes progress, and neither becomes a suspect nor fails.
func TestSaveTx_ACommittedCheckpointEndsTheStreaksAndOneThatWasRolledBackDoesNot(t *testing.T) {
	for name, c := range map[string]struct {
		commits bool
		streak  int
	}{"committed": {true, 0}, "rolled back": {false, 1}} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			if _, err := numbered.Enqueue(t.Context(), d.client, 1, nil); err != nil {
				t.Fatal(err)
			}
			beatAt(t, d.Store, 15*time.Second)
			claimed, err := d.Claim(t.Context(), task.ClaimRequest{Worker: "w", Max: 1, Kinds: []task.KindClaim{{Kind: numbered.Name, Max: 1}}})
			if err != nil || len(claimed) != 1 {
				t.Fatalf("claimed %+v, %v", claimed, err)
			}
			run := claimed[0]
			crash := task.Change{Fence: success(run).Fence, Status: task.StatusInterrupted, Reason: task.ReasonLost, Counters: task.Counters{Crashes: 1, CrashStreak: 1}}
			if err := d.Apply(t.Context(), []task.Change{crash})[0]; err != nil {
				t.Fatal(err)
			}
			got := d.serve(numbered, run.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
				tx, err := openPgx(ctx, d.pool)
				if err != nil {
					return err
				}
				if err := r.SaveTx(ctx, tx.Tx, 1); err != nil {
					return errors.Join(err, tx.rollback(ctx))
				}
				if c.commits {
					return errors.Join(tx.commit(ctx), errors.New("an error"))
				}
				return errors.Join(tx.rollback(ctx), errors.New("an error"))
			})
			if got.Status != task.StatusFailed || got.CrashStreak != c.streak || got.Crashes != 1 {
				t.Errorf("%s: %s, %+v", got.Status, got.Error, got.Counters)
			}
		})
	}
}

func TestSaveTx_AfterACommitWhoseAnswerWasLostLoadSaysWhatIsRecorded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lose func(p *proxy) // before the commit
		at   int
	}{
		"it was made":          {func(p *proxy) { p.muted.Store(true) }, 1},
		"it has not got there": {func(p *proxy) { p.cut() }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDesk(t)
			p, through := newProxy(t, d.dsn)
			e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := d.serve(numbered, e.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
				conn, err := pgx.Connect(ctx, through)
				if err != nil {
					return err
				}
				defer func() { p.cut(); _ = conn.Close(ctx) }()
				tx, err := openPgx(ctx, conn)
				if err != nil {
					return err
				}
				if err := errors.Join(tx.insert(ctx), r.SaveTx(ctx, tx.Tx, 1)); err != nil {
					return err
				}
				c.lose(p)
				// The answer does not come: the commit is given up when it has been made.
				unanswered, giveUp := context.WithCancel(ctx)
				var watch sync.WaitGroup
				watch.Go(func() {
					for unanswered.Err() == nil && d.rows() == 0 {
						time.Sleep(10 * time.Millisecond)
					}
					giveUp()
				})
				if err := tx.commit(unanswered); err == nil {
					t.Error("the commit was answered")
				}
				giveUp()
				watch.Wait()
				at := 0
				if _, err := r.Load(&at); err != nil || at != c.at {
					t.Errorf("loaded %d, %v; want %d", at, err, c.at)
				}
				return nil
			})
			if got.Status != task.StatusSucceeded || d.rows() != c.at {
				t.Errorf("%s: %s, %d rows", got.Status, got.Error, d.rows())
			}
		})
	}
}

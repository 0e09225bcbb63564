package pgstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// farTx returns transactions over a network whose round trips are counted.
func farTx(t *testing.T, d *desk) map[string]func() (openTx, *proxy) {
	return map[string]func() (openTx, *proxy){
		"pgx": func() (openTx, *proxy) {
			p, through := newProxy(t, d.dsn)
			conn, err := pgx.Connect(t.Context(), through)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
			tx, err := openPgx(t.Context(), conn)
			if err != nil {
				t.Fatal(err)
			}
			return tx, p
		},
		"database/sql": func() (openTx, *proxy) {
			p, through := newProxy(t, d.dsn)
			db, err := sql.Open("pgx", through)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			tx, err := openSQL(t.Context(), db)
			if err != nil {
				t.Fatal(err)
			}
			return tx, p
		},
	}
}

var unserved = task.Kind[int]{Name: "unserved"}

// newUnserved returns n new tasks that no worker claims.
func newUnserved(t *testing.T, n int, key string) []task.NewTask {
	t.Helper()
	news := make([]task.NewTask, n)
	for i := range news {
		opt := &task.EnqueueOptions{}
		if key != "" {
			opt.Key = fmt.Sprint(key, i)
		}
		var err error
		if news[i], err = unserved.Prepare(i, opt); err != nil {
			t.Fatal(err)
		}
	}
	return news
}

// The first call on a connection also prepares its statement.
func TestTx_EachCallInATransactionIsOneRoundTrip(t *testing.T) {
	d := newDesk(t)
	for name, begin := range farTx(t, d) {
		t.Run(name, func(t *testing.T) {
			e, err := numbered.Enqueue(t.Context(), d.client, 1, nil)
			if err != nil {
				t.Fatal(err)
			}
			got := d.serve(numbered, e.ID, hasEnded, func(ctx context.Context, r *task.Run) error {
				tx, p := begin()
				in := d.client.WithTx(tx.Tx)
				enqueue := func(news []task.NewTask) func() error {
					return func() error { _, err := in.EnqueueMany(ctx, news); return err }
				}
				save := func() error { return r.SaveTx(ctx, tx.Tx, 1) }
				if err := errors.Join(enqueue(newUnserved(t, 1, ""))(), save()); err != nil {
					return errors.Join(err, tx.rollback(ctx))
				}
				for what, call := range map[string]func() error{
					"one task":                 enqueue(newUnserved(t, 1, "")),
					"one with a key":           enqueue(newUnserved(t, 1, name)),
					"500":                      enqueue(newUnserved(t, 500, "")),
					"500 with keys":            enqueue(newUnserved(t, 500, name+" many ")),
					"a checkpoint":             save,
					"a checkpoint for a while": save,
				} {
					before := p.trips.Load()
					if err := call(); err != nil {
						return errors.Join(err, tx.rollback(ctx))
					}
					if n := p.trips.Load() - before; n != 1 {
						t.Errorf("%s: %d round trips", what, n)
					}
				}
				return tx.commit(ctx)
			})
			if got.Status != task.StatusSucceeded {
				t.Errorf("%s: %s", got.Status, got.Error)
			}
		})
	}
}

// A key that another transaction holds costs the caller nothing that it has done.
func TestWithTx_AfterErrKeyBusyTheTransactionGoesOnAndCommits(t *testing.T) {
	d := newDesk(t)
	for name, begin := range farTx(t, d) {
		t.Run(name, func(t *testing.T) {
			before := d.rows()
			other, err := openPgx(t.Context(), d.pool)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.rollback(context.WithoutCancel(t.Context())) }()
			opt := &task.EnqueueOptions{Key: name}
			if _, err := numbered.Enqueue(t.Context(), d.client.WithTx(other.Tx), 1, opt); err != nil {
				t.Fatal(err)
			}
			tx, p := begin()
			in := d.client.WithTx(tx.Tx)
			if err := tx.insert(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := numbered.Enqueue(t.Context(), in, 0, nil); err != nil { // the statement is prepared
				t.Fatal(err)
			}
			trips := p.trips.Load()
			if _, err := numbered.Enqueue(t.Context(), in, 1, opt); !errors.Is(err, task.ErrKeyBusy) {
				t.Fatalf("the key of another transaction: %v", err)
			}
			if n := p.trips.Load() - trips; n != 1 {
				t.Errorf("%d round trips", n)
			}
			e, err := numbered.Enqueue(t.Context(), in, 2, nil)
			if err := errors.Join(err, tx.insert(t.Context()), tx.commit(t.Context())); err != nil {
				t.Fatalf("after ErrKeyBusy: %v", err)
			}
			if _, err := d.client.Get(t.Context(), e.ID); err != nil || d.rows()-before != 2 {
				t.Errorf("%d rows, %v", d.rows()-before, err)
			}
		})
	}
}

func TestTx_ANilTransactionIsInvalid(t *testing.T) {
	d := newDesk(t)
	for name, tx := range map[string]task.Tx{"pgx": Tx(nil), "database/sql": SQLTx(nil)} {
		if _, err := numbered.Enqueue(t.Context(), d.client.WithTx(tx), 1, nil); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%s: Enqueue: %v", name, err)
		}
		if err := d.SaveTx(t.Context(), tx, task.Change{Status: task.StatusRunning}); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%s: SaveTx: %v", name, err)
		}
		if err := d.FinishTx(t.Context(), tx, task.Change{Status: task.StatusSucceeded}); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("%s: FinishTx: %v", name, err)
		}
	}
	if n, err := d.client.Count(t.Context()); err != nil || len(n.Tasks) != 0 {
		t.Errorf("%+v, %v", n, err)
	}
}

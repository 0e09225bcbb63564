package pgstore

import (
	"context"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// finishing ends a run in a transaction of the caller's that stays open, as that of a stopped
// process does. Meanwhile it changes a table: that statement waits for the transaction.
func finishing(t *testing.T, ddl string) (b *rig, other task.Task, commit, giveUp func()) {
	t.Helper()
	b = newRig(t)
	tasks, tx := b.many(2), b.begin()
	if err := b.store.FinishTx(t.Context(), Tx(tx), success(tasks[0])); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var change sync.WaitGroup
	conn, err := pgx.ConnectConfig(t.Context(), b.store.pool.Config().ConnConfig)
	if err != nil {
		t.Fatal(err)
	}
	change.Go(func() {
		if _, err := conn.Exec(ctx, b.store.sql(ddl)); err == nil {
			t.Errorf("%s did not wait", ddl)
		}
	})
	giveUp = func() {
		cancel()
		change.Wait()
		_ = conn.Close(context.WithoutCancel(ctx)) // it may have ended with its statement
	}
	t.Cleanup(giveUp)
	b.untilWaiting(1)
	return b, tasks[1], func() {
		t.Helper()
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}, giveUp
}

func TestDDL_ThatWaitsForACallersTransactionHoldsUpEverybodyUntilItGivesUp(t *testing.T) {
	t.Parallel()
	b, other, commit, giveUp := finishing(t, `create index on @.ended ((1))`)
	var end sync.WaitGroup
	end.Go(func() {
		for _, err := range b.store.Apply(t.Context(), []task.Change{success(other)}) {
			if err != nil {
				t.Error(err)
			}
		}
	})
	b.untilWaiting(2)
	giveUp()
	end.Wait() // while the transaction is open
	commit()
	b.counts(map[task.Status]int{task.StatusSucceeded: 2})
}

func TestDDL_ThatIsConcurrentHoldsUpNobody(t *testing.T) {
	t.Parallel()
	b, other, commit, giveUp := finishing(t, `create index concurrently on @.ended ((1))`)
	b.end(other)
	giveUp()
	commit()
	b.counts(map[task.Status]int{task.StatusSucceeded: 2})
}

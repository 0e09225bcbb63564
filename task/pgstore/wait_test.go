package pgstore

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// Each of them alone would send a statement a second.
func TestWait_HundredsWhoWaitCostTheServerAFewStatements(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const waiters, span = 300, 5 * time.Second
	done, err := d.client.EnqueueMany(t.Context(), newUnserved(t, waiters, ""))
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer func() { stop(); all.Wait() }()
	for _, one := range done {
		all.Go(func() {
			if _, err := d.client.Wait(ctx, one.ID); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
	transactions := func() (n int) {
		t.Helper()
		if err := d.db.QueryRowContext(t.Context(), `select xact_commit + xact_rollback from pg_stat_database where datname = current_database()`).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	pause := time.NewTimer(3 * time.Second) // until they wait a second between two looks
	defer pause.Stop()
	<-pause.C
	before, began := transactions(), time.Now()
	pause.Reset(span)
	<-pause.C
	rate := float64(transactions()-before) / time.Since(began).Seconds()
	t.Logf("%.1f transactions a second while %d wait", rate, waiters)
	if rate > waiters/10 {
		t.Errorf("%.1f transactions a second while %d wait", rate, waiters)
	}
}

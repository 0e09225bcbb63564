package storetest

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/memstore"
	"github.com/lastcall-go/lastcall/task"
)

// buffered is a memstore with transactions that do everything at their commit. One of its parts may be broken.
type buffered struct {
	*memstore.Store
	flaw string
}

// buffer is its transaction.
type buffer struct {
	s        *buffered
	tasks    []task.NewTask
	ends     []task.Change
	poisoned bool
}

func (*buffer) StoreTx() string { return "a buffer" }

func (s *buffered) Wake() {}

func (s *buffered) AddTx(ctx context.Context, tx task.Tx, tasks []task.NewTask) ([]task.Added, error) {
	b, ok := tx.(*buffer)
	if !ok {
		return nil, task.ErrInvalid
	}
	if s.flaw == "adds at once" {
		return s.Add(ctx, tasks)
	}
	added := make([]task.Added, len(tasks))
	for i, n := range tasks {
		found, err := s.Find(ctx, task.Query{IDs: []string{n.ID}})
		if err != nil {
			return nil, err
		}
		added[i] = task.Added{ID: n.ID, Existed: len(found) > 0 && s.flaw != "knows no repetition"}
		if !added[i].Existed {
			b.tasks = append(b.tasks, n)
		}
	}
	return added, nil
}

func (s *buffered) FinishTx(ctx context.Context, tx task.Tx, c task.Change) error {
	b, ok := tx.(*buffer)
	if !ok {
		return task.ErrInvalid
	}
	found, err := s.Find(ctx, task.Query{IDs: []string{c.Task}})
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0].Status != task.Running || found[0].Run != c.Run || found[0].Worker != c.Worker {
		b.poisoned = s.flaw != "commits what is stale"
		return task.ErrLeaseLost
	}
	if s.flaw == "finishes at once" {
		return s.Apply(ctx, []task.Change{c})[0]
	}
	b.ends = append(b.ends, c)
	return nil
}

func (b *buffer) commit() error {
	if b.poisoned {
		return errors.New("it cannot be committed")
	}
	ctx := context.Background()
	for i := range b.ends {
		if b.s.flaw == "forgets the result" {
			b.ends[i].Result = nil
		}
	}
	if b.s.flaw == "adds nothing" {
		b.tasks = nil
	}
	var errs []error
	if len(b.tasks) > 0 {
		_, err := b.s.Add(ctx, b.tasks)
		errs = append(errs, err)
	}
	return errors.Join(append(errs, b.s.Apply(ctx, b.ends)...)...)
}

func (b *buffer) rollback() error {
	if b.s.flaw == "rolls nothing back" {
		return b.commit()
	}
	return nil
}

// caught are the cases that complain of a store with a flaw.
func caught(t *testing.T, flaw string) (cases []string) {
	t.Helper()
	for _, r := range txRules {
		s := &buffered{Store: memstore.New(), flaw: flaw}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		rec := &recorder{TB: t, ctx: ctx}
		done := make(chan struct{})
		go func() {
			defer close(done)
			r.check(&txT{T: &T{TB: rec, Store: s, bare: s}, store: s, begin: func() Transaction {
				b := &buffer{s: s}
				return Transaction{Tx: b, Commit: b.commit, Rollback: b.rollback}
			}})
		}()
		<-done
		cancel()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if rec.Failed() {
			cases = append(cases, r.says)
		}
	}
	return cases
}

func TestAStoreWithABrokenTransactionIsCaught(t *testing.T) {
	if got := caught(t, ""); len(got) > 0 {
		t.Errorf("a whole store is complained of: %q", got)
	}
	blamed := make(map[string]bool)
	for _, flaw := range []string{
		"adds at once", "adds nothing", "knows no repetition", "finishes at once", "forgets the result", "rolls nothing back", "commits what is stale",
	} {
		got := caught(t, flaw)
		if len(got) == 0 {
			t.Errorf("a store that %s was not caught", flaw)
		}
		for _, says := range got {
			blamed[says] = true
		}
	}
	if i := slices.IndexFunc(txRules, func(r txRule) bool { return !blamed[r.says] }); i >= 0 {
		t.Errorf("no flaw is caught by %q", txRules[i].says)
	}
}

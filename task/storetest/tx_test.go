package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// buffered is a memstore with transactions that do everything at their commit. One of its parts may
// be broken.
type buffered struct {
	*memstore.Store
	flaw string

	mu   sync.Mutex
	open map[*buffer]bool
}

// buffer is its transaction.
type buffer struct {
	s        *buffered
	tasks    []task.NewTask
	changes  []task.Change // saves and ends
	found    []string      // tasks that have a key or an id that it wanted
	replaced []string      // tasks that it replaces
	poisoned bool
}

func (*buffer) StoreTx() string { return "a buffer" }

func (s *buffered) begin() Transaction {
	b := &buffer{s: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*buffer]bool)
	}
	s.open[b] = true
	return Transaction{Tx: b, Commit: b.commit, Rollback: b.rollback}
}

func (s *buffered) Wake() {}

// busy reports whether a transaction other than b is about to add a task with that id or key; s.mu
// is held.
func (s *buffered) busy(b *buffer, n task.NewTask) bool {
	for other := range s.open {
		if other != b && slices.ContainsFunc(other.tasks, func(o task.NewTask) bool {
			return o.ID == n.ID || n.Key != "" && o.Key == n.Key && o.Kind == n.Kind && (len(other.replaced) == 0 || n.OnConflict == task.Replace)
		}) {
			return s.flaw != "does not see what others are about to add"
		}
	}
	return false
}

// conflicts reports whether the id of a new task belongs to another task, in the store or in b;
// s.mu is held.
func (s *buffered) conflicts(ctx context.Context, b *buffer, n task.NewTask) (bool, error) {
	for _, o := range b.tasks {
		if o.ID == n.ID {
			return o.Kind != n.Kind || string(o.Payload) != string(n.Payload), nil
		}
	}
	found, err := s.Find(ctx, task.Query{IDs: []string{n.ID}})
	return len(found) == 1 && (found[0].Kind != n.Kind || string(found[0].Payload) != string(n.Payload)), err
}

// holder returns the task that has the id or the key of a new one, in the store or in b; s.mu is
// held.
func (s *buffered) holder(ctx context.Context, b *buffer, n task.NewTask) (string, error) {
	for _, o := range b.tasks {
		if o.ID == n.ID || n.Key != "" && o.Key == n.Key && o.Kind == n.Kind {
			return o.ID, nil
		}
	}
	found, err := s.Find(ctx, task.Query{IDs: []string{n.ID}})
	if err != nil {
		return "", err
	}
	if n.Key != "" && len(found) == 0 {
		keyed, err := s.Find(ctx, task.Query{Kind: n.Kind, Key: n.Key})
		if err != nil {
			return "", err
		}
		found = slices.DeleteFunc(keyed, func(t task.Task) bool { return t.Status.Ended() })
	}
	if len(found) == 0 {
		return "", nil
	}
	return found[0].ID, nil
}

func (s *buffered) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	added := make([]task.AddResult, len(tasks))
	for i, n := range tasks {
		if s.busy(nil, n) {
			added[i] = task.AddResult{ID: n.ID, Busy: true}
			continue
		}
		one, err := s.Store.Add(ctx, []task.NewTask{n})
		if err != nil {
			return nil, err
		}
		added[i] = one[0]
	}
	return added, nil
}

func (s *buffered) AddTx(ctx context.Context, tx task.Tx, tasks []task.NewTask) ([]task.AddResult, error) {
	b, ok := tx.(*buffer)
	if !ok {
		return nil, task.ErrInvalid
	}
	if s.flaw == "adds at once" {
		return s.Store.Add(ctx, tasks)
	}
	if s.flaw == "takes a hundred" {
		tasks = tasks[:min(len(tasks), 100)]
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	added := make([]task.AddResult, len(tasks))
	for i, n := range tasks {
		if s.busy(b, n) {
			added[i] = task.AddResult{ID: n.ID, Busy: true}
			b.poisoned = b.poisoned || s.flaw == "is spoiled by a key that is busy"
			continue
		}
		conflict, err := s.conflicts(ctx, b, n)
		if err != nil {
			return nil, err
		}
		if conflict && s.flaw != "knows no conflict" {
			added[i] = task.AddResult{ID: n.ID, Conflict: true}
			continue
		}
		holder, err := s.holder(ctx, b, n)
		if err != nil {
			return nil, err
		}
		if holder != "" && s.flaw != "knows no repetition" {
			added[i] = task.AddResult{ID: holder, Outcome: task.OutcomeExisting}
			if n.OnConflict == task.Replace { // it waits, in the cases
				added[i].Outcome = task.OutcomeReplaced
				b.replaced, b.tasks = append(b.replaced, holder), append(b.tasks, n)
				continue
			}
			b.found = append(b.found, holder)
			continue
		}
		added[i] = task.AddResult{ID: n.ID}
		b.tasks = append(b.tasks, n)
	}
	return added, nil
}

func (s *buffered) FinishTx(ctx context.Context, tx task.Tx, c task.Change) error {
	return s.changeTx(ctx, tx, c, s.flaw == "finishes at once", s.flaw != "commits what is stale")
}

func (s *buffered) SaveTx(ctx context.Context, tx task.Tx, c task.Change) error {
	return s.changeTx(ctx, tx, c, s.flaw == "saves at once", s.flaw != "commits a stale checkpoint")
}

func (s *buffered) changeTx(ctx context.Context, tx task.Tx, c task.Change, atOnce, poisons bool) error {
	b, ok := tx.(*buffer)
	if !ok {
		return task.ErrInvalid
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	found, err := s.Find(ctx, task.Query{IDs: []string{c.Task}})
	if err != nil {
		return err
	}
	if len(found) != 1 || found[0].Status != task.StatusRunning || found[0].Run != c.Run || found[0].Worker != c.Worker {
		b.poisoned = poisons
		return task.ErrLeaseLost
	}
	if atOnce {
		return s.Store.Apply(ctx, []task.Change{c})[0]
	}
	if s.flaw != "keeps the first change alone" || len(b.changes) == 0 {
		b.changes = append(b.changes, c)
	}
	return nil
}

// locked reports whether a change is of a run that an open transaction changes; s.mu is held.
func (s *buffered) locked(c task.Change) bool {
	for b := range s.open {
		if slices.ContainsFunc(b.changes, func(other task.Change) bool { return other.Fence == c.Fence }) {
			return true
		}
	}
	return false
}

// wait waits for the transaction that changes a run, for a short time.
func (s *buffered) wait(c task.Change) error {
	for range 100 {
		s.mu.Lock()
		locked := s.locked(c)
		s.mu.Unlock()
		if !locked {
			return nil
		}
		time.Sleep(time.Millisecond)
	}
	return task.ErrHeldUp
}

// Apply is held up by the open transactions, in a store with that flaw.
func (s *buffered) Apply(ctx context.Context, changes []task.Change) []error {
	s.mu.Lock()
	held := false
	for b := range s.open {
		held = held || s.flaw == "holds up an end by another change" && len(b.changes) > 0 ||
			s.flaw == "holds up an end by a new task" && len(b.tasks) > 0 ||
			s.flaw == "holds up what it found" && slices.Contains(b.found, changes[0].Task) ||
			s.flaw == "holds up a whole call" && slices.ContainsFunc(changes, s.locked)
	}
	s.mu.Unlock()
	if held {
		<-ctx.Done()
	}
	errs := make([]error, len(changes))
	for i, c := range changes {
		if s.flaw != "commits even if the run was lost" {
			errs[i] = s.wait(c)
		}
		if errs[i] == nil {
			errs[i] = s.Store.Apply(ctx, []task.Change{c})[0]
		}
	}
	return errs
}

// Claim leaves out tasks that open transactions replace.
func (s *buffered) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := range s.open {
		if s.flaw != "claims what is being replaced" {
			req.Except = append(slices.Clip(req.Except), b.replaced...)
		}
	}
	return s.Store.Claim(ctx, req)
}

// Control refuses a retry whose key is about to be taken.
func (s *buffered) Control(ctx context.Context, cmd task.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if cmd.Verb == task.VerbRetry {
		found, err := s.Find(ctx, task.Query{IDs: []string{cmd.Task}})
		if err != nil {
			return err
		}
		if len(found) == 1 && found[0].Status.Ended() && s.busy(nil, task.NewTask{Kind: found[0].Kind, Key: found[0].Key}) {
			return task.ErrKeyBusy
		}
	}
	return s.Store.Control(ctx, cmd)
}

func (b *buffer) commit() error {
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	delete(b.s.open, b)
	if b.poisoned {
		return errors.New("it cannot be committed")
	}
	ctx := context.Background()
	for i := range b.changes {
		switch b.s.flaw {
		case "forgets the result":
			b.changes[i].Result = nil
		case "forgets the checkpoint":
			b.changes[i].Checkpoint = nil
		case "forgets the step":
			b.changes[i].Step = nil
		}
	}
	if b.s.flaw == "adds nothing" {
		b.tasks = nil
	}
	var errs []error
	if len(b.tasks) > 0 {
		_, err := b.s.Store.Add(ctx, b.tasks)
		errs = append(errs, err)
	}
	errs = append(errs, b.s.Store.Apply(ctx, b.changes)...)
	if b.s.flaw == "commits even if the run was lost" {
		return nil
	}
	return errors.Join(errs...)
}

func (b *buffer) rollback() error {
	if b.s.flaw == "rolls nothing back" {
		return b.commit()
	}
	b.s.mu.Lock()
	defer b.s.mu.Unlock()
	delete(b.s.open, b)
	return nil
}

// blamed reports whether a case complains about a store with a flaw.
func blamed(t *testing.T, r txRule, flaw string) bool {
	t.Helper()
	s := &buffered{Store: memstore.New(), flaw: flaw}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	within := aWhile + time.Second // a case may wait for a second transaction
	if flaw == "" {
		within = forever
	}
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	rec := &recorder{TB: t, ctx: ctx}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.check(&txT{T: &T{TB: rec, Store: s, bare: s}, store: s, begin: s.begin})
	}()
	<-done
	return rec.Failed()
}

func TestSuite_AStoreWithABrokenTransactionIsCaught(t *testing.T) {
	for _, r := range slices.Concat(txRules, stepTxRules, neighbourRules, keyTxRules) {
		if blamed(t, r, "") {
			t.Errorf("a whole store is complained of by %q", r.says)
		}
	}
	caught := make(map[string]bool)
	for _, flaw := range []string{
		"adds at once", "adds nothing", "knows no repetition", "knows no conflict", "finishes at once", "forgets the result", "rolls nothing back", "commits what is stale",
		"saves at once", "forgets the checkpoint", "forgets the step", "keeps the first change alone", "commits a stale checkpoint",
	} {
		found := false
		for _, r := range slices.Concat(txRules, stepTxRules) {
			if blamed(t, r, flaw) {
				found, caught[r.says] = true, true
			}
		}
		if !found {
			t.Errorf("a store that %s was not caught", flaw)
		}
	}
	for i, flaw := range []string{ // one for each of the cases, in their order
		"holds up an end by another change", "holds up an end by another change", "commits even if the run was lost", "holds up an end by a new task", "holds up what it found",
		"does not see what others are about to add", "is spoiled by a key that is busy", "does not see what others are about to add",
		"takes a hundred", "commits even if the run was lost",
		"holds up a whole call",
	} {
		caught[neighbourRules[i].says] = blamed(t, neighbourRules[i], flaw)
	}
	for i, flaw := range []string{"claims what is being replaced", "rolls nothing back"} {
		caught[keyTxRules[i].says] = blamed(t, keyTxRules[i], flaw)
	}
	for _, r := range slices.Concat(txRules, stepTxRules, neighbourRules, keyTxRules) {
		if !caught[r.says] {
			t.Errorf("no flaw is caught by %q", r.says)
		}
	}
}

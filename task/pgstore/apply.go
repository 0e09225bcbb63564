package pgstore

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

const (
	// maxBatch bounds the changes of a statement.
	maxBatch = 1000
	// lockPatience bounds the wait for a run that another transaction has locked, in milliseconds,
	// and lockBudget the time that one call of Apply spends on such runs.
	lockPatience = "100"
	lockBudget   = 2 * time.Second
)

// item is one change of a call of Apply.
type item struct {
	*task.Change
	key   [16]byte
	place int // in the caller's list
	round int // of several changes of one task, which are written one after the other
}

// ends reports whether the change ends its run.
func (it *item) ends() bool { return it.Status != task.StatusRunning }

// together reports whether two changes can be written in one statement.
func (it *item) together(other *item) bool {
	return it.round == other.round && it.ends() == other.ends()
}

// Apply implements task.Store. It writes changes in batches sorted by task, whatever they carry:
// one statement for runs that go on, and one for runs that end. It writes changes of runs that
// another transaction has locked one by one. When a batch cannot be written it is halved, until
// only the change that cannot be written fails.
func (s *Store) Apply(ctx context.Context, changes []task.Change) []error {
	errs := make([]error, len(changes))
	if err := s.usable(ctx); err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	deadline := time.Now().Add(lockBudget)
	for _, batch := range batches(items(changes, errs)) {
		s.applyBatch(ctx, batch, errs, deadline)
	}
	for i := range changes {
		if errs[i] == nil && changes[i].Status.Claimable() {
			s.claimable(everything)
			break
		}
	}
	return errs
}

// items returns the changes with a valid task id, and gives each its round.
func items(changes []task.Change, errs []error) []item {
	all := make([]item, 0, len(changes))
	for i := range changes {
		key, ok := storekit.ParseID(changes[i].Task)
		if !ok {
			errs[i] = task.ErrNotFound
			continue
		}
		all = append(all, item{Change: &changes[i], key: key, place: i})
	}
	byTask := func(a, b item) int {
		return cmp.Or(bytes.Compare(a.key[:], b.key[:]), cmp.Compare(a.place, b.place))
	}
	if !slices.IsSortedFunc(all, byTask) {
		slices.SortFunc(all, byTask)
	}
	for i := range all {
		if i > 0 && all[i].key == all[i-1].key {
			all[i].round = all[i-1].round + 1
		}
	}
	return all
}

// batches splits changes into the batches of one statement each.
func batches(all []item) [][]item {
	order := func(a, b item) int {
		ends := 0
		if a.ends() != b.ends() {
			if ends = -1; a.ends() {
				ends = 1
			}
		}
		return cmp.Or(cmp.Compare(a.round, b.round), ends)
	}
	if !slices.IsSortedFunc(all, order) {
		slices.SortStableFunc(all, order)
	}
	var sorted [][]item
	for from, i := 0, 1; i <= len(all); i++ {
		if i == len(all) || i-from == maxBatch || !all[i].together(&all[from]) {
			sorted, from = append(sorted, all[from:i]), i
		}
	}
	return sorted
}

// applyBatch writes the changes of one statement.
func (s *Store) applyBatch(ctx context.Context, items []item, errs []error, deadline time.Time) {
	var missed []item
	err := s.once(ctx, func(ctx context.Context) (err error) {
		missed, err = s.write(ctx, items)
		return err
	})
	if err != nil && len(items) > 1 && isRowError(err) {
		half := len(items) / 2
		s.applyBatch(ctx, items[:half], errs, deadline)
		s.applyBatch(ctx, items[half:], errs, deadline)
		return
	}
	for i := range items {
		errs[items[i].place] = err
	}
	if err == nil && len(missed) > 0 {
		s.settle(ctx, missed, errs, deadline)
	}
}

// write writes changes in one statement, and returns those that were missed: their run has ended,
// or another transaction has locked it. To look first whether a step exists costs the server more
// than to insert it, so new steps are inserted. If one exists, since its write is repeated, nothing
// has been written, and the statement that looks follows.
func (s *Store) write(ctx context.Context, items []item) (missed []item, err error) {
	if haveNewSteps(items) {
		if missed, err = missedOf(s.pool.QueryRow(ctx, s.q.SaveNew, saveArgs(items)...), items); !isTaken(err) {
			return missed, err
		}
	}
	sql, args := statement(s.q.FinishRuns, s.q.SaveRuns, items)
	return missedOf(s.pool.QueryRow(ctx, sql, args...), items)
}

// haveNewSteps reports whether there are steps among changes, and none of them has a record, as far
// as their runs know.
func haveNewSteps(items []item) bool {
	some := false
	for _, it := range items {
		if it.Step == nil {
			continue
		}
		if some = it.Step.Run == 0; !some {
			return false
		}
	}
	return some
}

// statement returns the statement for changes that are written together, finish or save, with its
// arguments.
func statement(finish, save string, items []item) (sql string, args []any) {
	if items[0].ends() {
		return finish, finishArgs(items)
	}
	return save, saveArgs(items)
}

// missedOf reads which changes were written, and returns the others. No row means that all were
// written.
func missedOf(row pgx.Row, items []item) (missed []item, err error) {
	var ids [][16]byte
	if err := row.Scan(&ids); noRows(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	made := make(map[[16]byte]bool, len(ids))
	for _, id := range ids {
		made[id] = true
	}
	for _, it := range items {
		if !made[it.key] {
			missed = append(missed, it)
		}
	}
	return missed, nil
}

// settle finds out why changes were missed: a later statement sees what the first one could not.
// Changes whose runs go on are then written one by one.
func (s *Store) settle(ctx context.Context, missed []item, errs []error, deadline time.Time) {
	running, err := s.verdicts(ctx, missed, errs)
	if err != nil {
		for _, it := range missed {
			errs[it.place] = err
		}
		return
	}
	var again []item
	for _, it := range running {
		switch done, err := s.writeApart(ctx, it, deadline); {
		case err != nil:
			errs[it.place] = err
		case !done:
			again = append(again, it)
		default:
			errs[it.place] = nil
		}
	}
	if len(again) == 0 {
		return
	}
	running, err = s.verdicts(ctx, again, errs)
	for _, it := range again {
		if err != nil {
			errs[it.place] = err
		}
	}
	for _, it := range running {
		errs[it.place] = errHeldUp
	}
}

// errHeldUp means that another transaction kept a run locked for longer than Apply waits.
var errHeldUp = fmt.Errorf("pgstore: %w, or is asking it something: try again", task.ErrHeldUp)

// writeApart writes one change, and waits up to lockPatience for a transaction that has locked the
// run. It reports whether the change was written.
func (s *Store) writeApart(ctx context.Context, it item, deadline time.Time) (done bool, err error) {
	if time.Now().After(deadline) {
		return false, errHeldUp
	}
	one := []item{it}
	sql, args := statement(s.q.FinishRun, s.q.SaveRun, one)
	err = s.once(ctx, func(ctx context.Context) error {
		var batch pgx.Batch // one transaction
		batch.Queue(`select pg_catalog.set_config('lock_timeout', $1, true)`, lockPatience)
		batch.Queue(sql, args...).QueryRow(func(row pgx.Row) error {
			missed, err := missedOf(row, one)
			done = len(missed) == 0
			return err
		})
		return s.pool.SendBatch(ctx, &batch).Close()
	})
	if isLockTimeout(err) {
		return false, errHeldUp
	}
	return done && err == nil, err
}

// verdicts sets the errors of changes that were missed: for a repetition, a contradiction, or a
// lost run. It returns the changes whose runs go on.
func (s *Store) verdicts(ctx context.Context, missed []item, errs []error) (running []item, err error) {
	tasks, runs, workers := fenceArgs(missed)
	err = s.again(ctx, func(ctx context.Context) error {
		running = nil
		rows, err := s.pool.Query(ctx, s.q.Verdicts, tasks, runs, workers)
		if err != nil {
			return err
		}
		var (
			exists, goesOn, reclaimed bool
			status                    task.Status
			reason                    task.Reason
			n                         int
		)
		_, err = pgx.ForEachRow(rows, []any{&exists, &goesOn, &status, &reason, &reclaimed}, func() error {
			it := missed[n]
			n++
			if goesOn {
				running = append(running, it)
				return nil
			}
			errs[it.place] = verdict(it.Change, exists, status, reason, reclaimed)
			return nil
		})
		return err
	})
	return running, err
}

// verdict implements rule 9: the answer to a change whose run has ended.
func verdict(c *task.Change, exists bool, status task.Status, reason task.Reason, reclaimed bool) error {
	switch {
	case !exists:
		return task.ErrNotFound
	case status == "" || reclaimed || c.Status == task.StatusRunning:
		return task.ErrLeaseLost
	case status == task.StatusCancelled && c.Status.Claimable():
		return nil // the run was cancelled by request instead
	case status != c.Status || reason != c.Reason:
		return task.ErrAlreadyFinished
	}
	return nil
}

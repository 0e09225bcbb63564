package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// writer is the queue of what wants to write. SQLite has one writer at a time, and a durable commit
// costs a write to the disk: so one goroutine makes one transaction of all that waits.
type writer struct {
	mu    sync.Mutex
	queue []*job
	work  chan struct{}        // something is in the queue
	stmts map[string]*sql.Stmt // prepared, by their text
}

// job is a piece of a transaction.
type job struct {
	ctx context.Context
	fn  func(*txn) error
	// adding, if set, is what fn does, and may be done together with others of its sort.
	adding *adding
	// begun is set by whoever is first: the writer that begins it, or its caller that waits no
	// longer.
	begun atomic.Bool
	// done takes the answer without waiting.
	done chan error
}

// most bounds the jobs of one transaction, and so what one of them waits for the others.
const most = 512

// inTx runs fn in a write transaction, together with others that come at the same time: one that
// fails does not fail the others. When ctx ends, fn is not begun any more; if it has begun its end
// is waited for, which takes no longer than the transaction: fn writes what its caller then reads.
func (s *Store) inTx(ctx context.Context, fn func(*txn) error) error {
	return s.enter(&job{ctx: ctx, fn: fn})
}

// enter puts a job into the queue and waits for its end.
func (s *Store) enter(j *job) error {
	ctx := j.ctx
	j.done = make(chan error, 1)
	if err := s.usable(ctx); err != nil {
		return err
	}
	s.writer.mu.Lock()
	s.writer.queue = append(s.writer.queue, j)
	s.writer.mu.Unlock()
	select {
	case s.writer.work <- struct{}{}:
	default:
	}
	err := errClosing
	select {
	case err := <-j.done:
		return s.wrap(ctx, err)
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-s.closed:
	}
	if j.begun.Swap(true) {
		err = <-j.done
		if err == nil {
			return nil // it was in time
		}
	}
	return s.wrap(ctx, err)
}

var errClosing = errors.New("the store is being closed")

// writes makes transactions until the store is closed.
func (s *Store) writes() {
	for {
		select {
		case <-s.closed:
			return
		case <-s.writer.work:
		}
		for {
			s.writer.mu.Lock()
			n := min(len(s.writer.queue), most)
			batch := s.writer.queue[:n:n]
			s.writer.queue = s.writer.queue[n:]
			s.writer.mu.Unlock()
			if n == 0 {
				break
			}
			errs, news := s.transaction(batch)
			if news {
				s.claimable()
			}
			for i, err := range errs {
				batch[i].done <- err
			}
			if n > 1 {
				runtime.Gosched() // who was answered may come again, and share the next commit
			}
			s.yield()
		}
	}
}

// transaction does jobs in one transaction and returns what came of each, and whether there is
// something to claim now. It is bounded by our patience with other processes and not by anybody's
// context, since it is not one caller's.
func (s *Store) transaction(batch []*job) (errs []error, news bool) {
	errs = make([]error, len(batch))
	w := take(batch, errs)
	var err error
	if w.onlyAdds() {
		news, err = s.committed(func(t *txn) error {
			if err := s.addTogether(t, w.adds); err != nil {
				w.apart()
				return err
			}
			return nil
		})
	}
	if !w.onlyAdds() { // from the first, or from now on
		news, err = s.committed(func(t *txn) error { return s.each(t, batch, w, errs) })
	}
	for i := range errs {
		if err != nil && !errors.Is(errs[i], err) {
			errs[i] = errors.Join(errs[i], err)
		}
	}
	return errs, news
}

// committed makes a transaction of fn. The error of fn undoes it.
func (s *Store) committed(fn func(*txn) error) (news bool, err error) {
	tx, err := s.begin()
	if err != nil {
		return false, err
	}
	t := &txn{tx: tx, stmts: s.writer.stmts}
	if err := fn(t); err != nil {
		_ = tx.Rollback() // the error says more
		return false, err
	}
	err = tx.Commit()
	return t.news && err == nil, err
}

// txn is a write transaction.
type txn struct {
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
	news  bool // there is something to claim, which others are told once it is committed
}

// What makes a job's failure its own.
const (
	savepointSQL = `savepoint job`
	undoSQL      = `rollback to job`
	releaseSQL   = `release job`
)

// work is what a transaction has to do.
type work struct {
	// adds are done first and together, if that is possible; their places are in the batch.
	adds   []*adding
	places []int
	rows   int
	// rest is done one by one.
	rest []int
}

// take takes the jobs whose callers wait still; what became of the others stands in errs.
func take(batch []*job, errs []error) *work {
	w := new(work)
	for i, j := range batch {
		switch {
		case j.ctx.Err() != nil:
			errs[i] = context.Cause(j.ctx)
		case j.begun.Swap(true):
			errs[i] = errClosing // its caller has gone
		case j.adding != nil:
			w.adds, w.places, w.rows = append(w.adds, j.adding), append(w.places, i), w.rows+len(j.adding.tasks)
		default:
			w.rest = append(w.rest, i)
		}
	}
	if w.rows <= 1 {
		w.apart()
	}
	return w
}

// apart has everything done one by one.
func (w *work) apart() {
	w.rest = append(w.places, w.rest...)
	w.adds, w.places = nil, nil
}

// onlyAdds says that there is nothing else: then no savepoint is needed, which would cost a fifth of
// what they cost, since SQLite copies every page that is changed after it.
func (w *work) onlyAdds() bool { return len(w.adds) > 0 && len(w.rest) == 0 }

// each does the work of a transaction so that one that fails does not fail the others.
func (s *Store) each(t *txn, batch []*job, w *work, errs []error) error {
	if len(w.adds) > 0 && t.alone(func(t *txn) error { return s.addTogether(t, w.adds) }) != nil {
		w.apart()
	}
	for _, i := range w.rest {
		if len(batch) == 1 {
			errs[i] = batch[i].fn(t)
			return errs[i]
		}
		errs[i] = t.alone(batch[i].fn)
	}
	return nil
}

// alone runs fn so that its failure can be undone without what came before it.
func (t *txn) alone(fn func(*txn) error) error {
	if _, err := t.exec(savepointSQL); err != nil {
		return err
	}
	err := fn(t)
	if err != nil {
		if _, undo := t.exec(undoSQL); undo != nil {
			return errors.Join(err, undo)
		}
	}
	_, released := t.exec(releaseSQL)
	return errors.Join(err, released)
}

// prepare makes the statements that single rows need, while no transaction has the connection.
func (w *writer) prepare(ctx context.Context, db *sql.DB, queries ...string) error {
	for _, q := range queries {
		st, err := db.PrepareContext(ctx, q) //nolint:sqlclosecheck // they are closed with the database
		if err != nil {
			return err
		}
		w.stmts[q] = st
	}
	return nil
}

// exec returns the number of rows that changed.
func (t *txn) exec(query string, args ...any) (int64, error) {
	var (
		res sql.Result
		err error
	)
	if st := t.stmts[query]; st != nil {
		//nolint:sqlclosecheck // it ends with the transaction
		res, err = t.tx.StmtContext(context.Background(), st).ExecContext(context.Background(), args...)
	} else {
		res, err = t.tx.ExecContext(context.Background(), query, args...)
	}
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// QueryContext and QueryRowContext make a txn a queryer.
func (t *txn) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, query, args...)
}

func (t *txn) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	if st := t.stmts[query]; st != nil {
		//nolint:sqlclosecheck // it ends with the transaction
		return t.tx.StmtContext(context.Background(), st).QueryRowContext(ctx, args...)
	}
	return t.tx.QueryRowContext(ctx, query, args...)
}

// rolledBack leaves out the complaint of a rollback that came after the end.
func rolledBack(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil
	}
	return err
}

package sqlitestore

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/lastcall-go/lastcall/task/storekit"
)

// writer is the queue of calls that want to write. SQLite has one writer at a time, and a durable
// commit costs a write to the disk. So one goroutine makes one transaction of all calls that wait.
type writer struct {
	conn  *sql.Conn
	stmts *prepared
	work  chan struct{} // something is in the queue

	mu    sync.Mutex
	queue []*job
}

// job is the part that one call has in a transaction.
type job struct {
	ctx context.Context
	// fn does the work. It may be called again, when the transaction was rolled back because of
	// another job. It returns an error of the contract as its answer, and has then written nothing.
	// After any other error the transaction is rolled back.
	fn func(*txn) error
	// adding, in place of fn, is a call of Add: all those in a transaction are done together.
	adding *adding
	// begun is set either by the writer that begins the job, or by the caller that no longer waits,
	// whichever is first.
	begun atomic.Bool
	// err is the answer, until it is sent to done.
	err error
	// done has room for the answer, so that the writer never waits.
	done chan error
}

const (
	// maxJobs and maxSize bound a transaction, and so the time that one job waits for the others.
	maxJobs = 512
	maxSize = 5000
)

// size returns about how many rows and pages the job writes.
func (j *job) size() int {
	if j.adding == nil {
		return 1
	}
	const page = 4096
	n := len(j.adding.tasks)
	for i := range j.adding.tasks {
		n += len(j.adding.tasks[i].Payload) / page
	}
	return n
}

// inTx runs fn in a write transaction, together with other calls that come at the same time. A call
// that fails does not make the others fail. When ctx ends before fn has begun, fn does not run.
// When fn has begun, inTx waits for its end, which takes no longer than the transaction: fn writes
// results that its caller then reads.
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
		for batch := s.writer.next(); len(batch) > 0; batch = s.writer.next() {
			if s.transactions(batch) {
				s.claimable()
			}
			for _, j := range batch {
				j.done <- j.err
			}
			if len(batch) > 1 {
				// Callers that have just been answered may call again, and share the next commit.
				runtime.Gosched()
			}
			s.letOthersWrite()
		}
	}
}

// next returns the jobs of the next transaction.
func (w *writer) next() []*job {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for size := 0; n < min(len(w.queue), maxJobs); n++ {
		if size += w.queue[n].size(); n > 0 && size > maxSize {
			break
		}
	}
	batch := w.queue[:n:n]
	w.queue = w.queue[n:]
	return batch
}

// transactions does jobs in one transaction and, if one of them cannot be written, each in its own.
// It reports whether there may be something to claim now. It has no context, since it does not
// belong to one caller; the patience with other processes bounds it.
func (s *Store) transactions(batch []*job) (news bool) {
	var live []*job
	for _, j := range batch {
		switch {
		case j.ctx.Err() != nil:
			j.err = context.Cause(j.ctx)
		case j.begun.Swap(true):
			j.err = errClosing // its caller no longer waits
		default:
			live = append(live, j)
		}
	}
	news, err := s.transaction(live)
	if err == nil || len(live) < 2 || !isOfRow(err) {
		return news
	}
	for i := range live {
		alone, _ := s.transaction(live[i : i+1]) // the job has the error
		news = news || alone
	}
	return news
}

// transaction does jobs in one transaction, and sets the answer of each. If it returns an error,
// the transaction was rolled back.
func (s *Store) transaction(jobs []*job) (news bool, err error) {
	if len(jobs) == 0 {
		return false, nil
	}
	if err = s.begin(); err == nil {
		t := &txn{s.writer.stmts, false}
		if err = s.do(t, jobs); err == nil {
			if err = s.writer.exec("commit"); err == nil {
				err = s.strayed() // the file may have been removed meanwhile, with what was written
			}
		}
		news = t.news && err == nil
	}
	if err != nil {
		_ = s.writer.exec("rollback") // it may have ended already, and the error says more
		for _, j := range jobs {
			j.err = err
		}
	}
	return news, err
}

// do does jobs: first those that add tasks, all at once.
func (s *Store) do(t *txn, jobs []*job) error {
	var adds []*adding
	for _, j := range jobs {
		j.err = nil
		if j.adding != nil {
			adds = append(adds, j.adding)
		}
	}
	if len(adds) > 0 {
		if err := s.addAll(t, adds); err != nil {
			return err
		}
	}
	for _, j := range jobs {
		if j.adding != nil {
			continue
		}
		if j.err = j.fn(t); j.err != nil && !storekit.IsContractError(j.err) {
			return j.err
		}
	}
	return nil
}

func (w *writer) exec(text string) error {
	st, err := w.stmts.statement(context.Background(), text) //nolint:sqlclosecheck // close does it
	if err != nil {
		return err
	}
	_, err = st.ExecContext(context.Background())
	return err
}

// txn is a write transaction.
type txn struct {
	stmts *prepared
	news  bool // there is something to claim; others are notified after the commit
}

// query makes a txn a queryer. It ignores its context: a transaction does not end with one.
func (t *txn) query(_ context.Context, name string, args ...any) (*sql.Rows, error) {
	return t.stmts.query(context.Background(), name, args...)
}

// exec returns the number of rows that changed.
func (t *txn) exec(name string, args ...any) (int64, error) {
	st, err := t.stmts.named(context.Background(), name)
	if err != nil {
		return 0, err
	}
	return changed(st, args)
}

// execList runs a statement whose only argument is a list of tasks.
func (t *txn) execList(name string, tasks []int64) error {
	if len(tasks) == 0 {
		return nil
	}
	arg, err := list(tasks)
	if err == nil {
		_, err = t.exec(name, arg)
	}
	return err
}

// rows runs a statement with a list of values for many rows. args has the values of one row after
// the other, and after has the arguments that follow the list.
func (t *txn) rows(name string, args []any, after ...any) error {
	for _, size := range bulkSizes {
		text, width := several(statements[name], size)
		for ; len(args) >= size*width; args = args[size*width:] {
			st, err := t.stmts.statement(context.Background(), text)
			if err != nil {
				return err
			}
			if _, err := changed(st, append(args[:size*width:size*width], after...)); err != nil {
				return err
			}
		}
	}
	return nil
}

func changed(st *sql.Stmt, args []any) (int64, error) {
	res, err := st.ExecContext(context.Background(), args...)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

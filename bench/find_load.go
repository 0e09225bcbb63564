package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// The data of pgfind are recorded through the store's own methods, as clients and workers would
// record them, so this code is independent of the store's tables. It takes some minutes, once.

// dataset is the size of the data set.
type dataset struct{ ended, waiting, running, queues, daily int }

func fullDataset() dataset {
	less := load * min(load, 10) // a thousandth in the short form
	return dataset{10_000_000 / less, 1_000_000 / less, 50_000 / less, 10_000 / less, 1000 / min(load, 50)}
}

// The values that the queries filter by. Mails are in the default queue and in many small ones,
// reports in the queue "reports". Only three mails are in the queue "reports", and only three
// reports have failed.
const (
	mail      = "mail"
	report    = "report"
	rare      = "rare"
	reports   = "reports"
	dailyKey  = "daily"
	hardly    = 3
	customers = 100 // one in this many tasks has a key of its own
)

func smallQueue(i int) string  { return fmt.Sprintf("small-%d", i) }
func customerKey(i int) string { return fmt.Sprintf("customer-%d", i) }
func defaultQueue(int) string  { return task.DefaultQueue }
func reportsQueue(int) string  { return reports }
func withoutKey(int) string    { return "" }
func dailyKeyOnly(int) string  { return dailyKey }
func keyOfCustomer(i int) string {
	if i%customers == 0 {
		return customerKey(i)
	}
	return ""
}

// portion is a part of the data set: tasks that are enqueued together and get the same kind of end.
type portion struct {
	kind   string
	n      int
	queue  func(i int) string
	key    func(i int) string
	step   int                                          // tasks enqueued by one call
	become func(i int, t task.Task) (task.Change, bool) // nil: the tasks wait
}

// portions returns the parts of the data set, the oldest first.
func (d dataset) portions() []portion {
	perQueue := max(d.ended/10/d.queues, 1)
	spread := func(i int) string { return smallQueue(i / perQueue % d.queues) }
	later := func(i int) string { return smallQueue(i % d.queues) }
	return []portion{
		{report, d.daily, reportsQueue, dailyKeyOnly, 1, succeed},
		{rare, 10, defaultQueue, withoutKey, 5, succeed},
		{report, d.ended * 4 / 10, reportsQueue, withoutKey, bulk, succeed},
		{report, hardly, reportsQueue, withoutKey, bulk, fail},
		{mail, d.ended / 10, spread, withoutKey, bulk, mixed},
		{mail, d.ended / 2, defaultQueue, keyOfCustomer, bulk, mixed},
		{mail, hardly, reportsQueue, withoutKey, bulk, succeed},
		{rare, 5, defaultQueue, withoutKey, 5, interrupt},
		{mail, d.running, defaultQueue, withoutKey, bulk, run},
		{mail, d.waiting * 4 / 10, defaultQueue, keyOfCustomer, bulk, nil},
		{mail, d.waiting / 10, later, withoutKey, bulk, nil},
		{report, d.waiting / 2, reportsQueue, withoutKey, bulk, nil},
	}
}

func succeed(i int, t task.Task) (task.Change, bool) {
	c := changeOf(t, task.StatusSucceeded)
	if i%4 == 0 {
		c.Result = []byte(`{"rows":4711}`)
	}
	return c, true
}

func fail(_ int, t task.Task) (task.Change, bool) {
	c := changeOf(t, task.StatusFailed)
	c.Counters.Attempts, c.Error = 5, "the mail server has refused the message"
	return c, true
}

// mixed fails one task in a hundred, cancels one in a hundred, and lets the others succeed.
func mixed(i int, t task.Task) (task.Change, bool) {
	switch i % 100 {
	case 0:
		return fail(i, t)
	case 1:
		return changeOf(t, task.StatusCancelled), true
	}
	return succeed(i, t)
}

func interrupt(_ int, t task.Task) (task.Change, bool) {
	c := changeOf(t, task.StatusInterrupted)
	c.Reason, c.Counters.Interruptions, c.Checkpoint = task.ReasonStop, 1, []byte(`{"at":7}`)
	return c, true
}

// run leaves the task running.
func run(int, task.Task) (task.Change, bool) { return task.Change{}, false }

func changeOf(t task.Task, status task.Status) task.Change {
	return task.Change{Fence: task.Fence{Task: t.ID, Run: t.Run, Worker: t.Worker}, Status: status, Counters: t.Counters}
}

// loader records a data set.
type loader struct {
	store  task.Store
	client *task.Client
	ended  atomic.Int64

	mu  sync.Mutex
	ids []string // a sample of the ended tasks, one of each claim
}

// loadDataset records the data set. It returns ids of ended tasks, the oldest first.
func loadDataset(store task.Store, size dataset) ([]string, error) {
	l := &loader{store: store, client: task.NewClient(store)}
	began := time.Now()
	for _, s := range size.portions() {
		if err := l.fill(s); err != nil {
			return nil, fmt.Errorf("tasks of kind %s: %w", s.kind, err)
		}
		fmt.Fprintf(os.Stderr, "    %4.0f s: %d tasks of kind %s recorded\n", time.Since(began).Seconds(), s.n, s.kind)
	}
	return l.ids, nil
}

// fill records a portion with several calls in parallel.
func (l *loader) fill(s portion) error {
	var (
		wg      sync.WaitGroup
		next    atomic.Int64
		failure atomic.Pointer[error]
	)
	routines := 4
	if s.n <= bulk {
		routines = 1
	}
	for range routines {
		wg.Go(func() {
			worker, err := l.register()
			for err == nil && failure.Load() == nil {
				from := int(next.Add(int64(s.step))) - s.step
				if from >= s.n {
					return
				}
				err = l.call(s, worker, from, min(s.step, s.n-from))
			}
			if err != nil {
				failure.Store(&err)
			}
		})
	}
	wg.Wait()
	if err := failure.Load(); err != nil {
		return *err
	}
	return nil
}

// register registers a worker. Its runs stay as they are after the loading.
func (l *loader) register() (string, error) {
	id, err := task.Prepare(mail, []byte("null"), nil) // only for its new id
	if err != nil {
		return "", err
	}
	_, err = l.store.Heartbeat(context.Background(), task.Beat{Worker: id.ID, Name: "loader",
		Kinds: []string{mail, report, rare}, Lease: time.Hour, Seq: 1, State: task.WorkerRunning})
	return id.ID, err
}

// call enqueues n tasks, claims as many, and ends them.
func (l *loader) call(s portion, worker string, from, n int) error {
	ctx := context.Background()
	batch := make([]task.NewTask, n)
	queues := map[string]bool{}
	for i := range batch {
		var err error
		opt := task.EnqueueOptions{Queue: s.queue(from + i), Key: s.key(from + i)}
		if batch[i], err = task.Prepare(s.kind, []byte(`{"customer":4711,"template":"welcome"}`), &opt); err != nil {
			return err
		}
		queues[opt.Queue] = true
	}
	if _, err := l.client.EnqueueMany(ctx, batch); err != nil {
		return err
	}
	if s.become == nil {
		return nil
	}
	req := task.ClaimRequest{Worker: worker}
	for q := range queues {
		req.Queues = append(req.Queues, q)
	}
	for left := n; left > 0; {
		req.Max = min(left, perCall)
		req.Kinds = []task.KindClaim{{Kind: s.kind, Max: req.Max, Limits: task.Limits{MaxAttempts: 5, MaxCrashes: 5}}}
		got, err := l.store.Claim(ctx, req)
		if err != nil {
			return err
		}
		// A parallel call has claimed ours, and leaves its own to us.
		if left -= len(got); left > 0 && len(got) == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		if err := l.end(s, got); err != nil {
			return err
		}
	}
	return nil
}

// end ends the claimed runs as the portion prescribes.
func (l *loader) end(s portion, got []task.Task) error {
	changes := make([]task.Change, 0, len(got))
	for _, t := range got {
		if c, ends := s.become(int(l.ended.Add(1)), t); ends {
			changes = append(changes, c)
		}
	}
	if s.step == bulk && len(changes) > 0 {
		l.mu.Lock()
		l.ids = append(l.ids, changes[0].Task)
		l.mu.Unlock()
	}
	return errors.Join(l.store.Apply(context.Background(), changes)...)
}

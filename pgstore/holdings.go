package pgstore

import (
	"context"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
)

// holdings are the runs of this process's claims that have not ended yet, as far as it knows: so a fence of
// one of them need not be compared with all tasks that its claim names, and the claim's row is taken away soon
// after the last. There may be too many, where an answer was lost or a run has ended in somebody's
// transaction. What it misses is found by a sweep, which looks at the tasks.
type holdings struct {
	mu     sync.Mutex
	open   map[held]*holding
	over   []int64 // rows of claims of which everything has ended
	unsure map[string]*doubt
}

// doubt is about a worker of which something may have been missed.
type doubt struct {
	swept time.Time
	again bool // something has been missed since
}

// held names the runs of a claim, or of two that were made in the same millisecond.
type held struct {
	worker string
	run    int64
}

type holding struct {
	tasks map[[16]byte]holds
	rows  []int64
}

// holds is what is known of one run.
type holds struct {
	claim int64 // row
	// simple: it is the first run of a task without a key, so that its success changes nothing else.
	simple bool
	// byRow: its end must not stand on a sheet, since it may have ended otherwise.
	byRow bool
	// doubtful: it may have ended on a sheet.
	doubtful bool
}

// add records what a claim got, whose runs have one number. complete: all that is asked about the tasks is known.
func (h *holdings) add(got *claimed, tasks []task.Task, complete bool) {
	if len(tasks) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	of := h.of(&tasks[0], len(tasks))
	for i := range tasks {
		p, t := &got.places[i], &tasks[i]
		of.tasks[p.id] = holds{claim: p.claim, simple: complete && t.Runs == 1 && t.Key == ""}
	}
	of.rows = append(of.rows, got.rows...)
}

// of returns what there is of a claim, or makes it for so many runs. It wants h.mu held.
func (h *holdings) of(t *task.Task, size int) *holding {
	if h.open == nil {
		h.open = make(map[held]*holding)
	}
	key := held{worker: t.Worker, run: t.Run}
	if h.open[key] == nil {
		h.open[key] = &holding{tasks: make(map[[16]byte]holds, size)}
	}
	return h.open[key]
}

// adopt records runs that a claim whose answer was lost has got. The row of that claim is found by a sweep.
func (h *holdings) adopt(tasks []task.Task) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range tasks {
		id, _ := parseID(tasks[i].ID) // the server's own
		of := h.of(&tasks[i], 0).tasks
		if _, known := of[id]; !known { // what is doubted stays so
			of[id] = holds{byRow: true}
		}
	}
}

// knows says whether a run was got by a claim of this process, and has not ended.
func (h *holdings) knows(f task.Fence, key [16]byte) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	of, ok := h.find(f, key)
	return ok && !of.doubtful
}

// find wants h.mu held.
func (h *holdings) find(f task.Fence, key [16]byte) (of holds, ok bool) {
	if all := h.open[held{worker: f.Worker, run: f.Run}]; all != nil {
		of, ok = all.tasks[key]
	}
	return of, ok
}

// look says of changes whether their runs are known, and whether they can stand on a sheet.
func (h *holdings) look(items []item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range items {
		it := &items[i]
		of, ok := h.find(it.Fence, it.key)
		if !ok || of.doubtful {
			if it.of == plainSuccess {
				it.of = ending
			}
			continue
		}
		it.known, it.claim = true, of.claim
		it.sheet = !of.byRow && (it.Status == task.Interrupted || it.Status == task.Succeeded && of.simple) && isBare(it.Change)
	}
}

// byRow says that a run may end otherwise, from now on.
func (h *holdings) byRow(f task.Fence, key [16]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if of, ok := h.find(f, key); ok {
		of.byRow = true
		h.open[held{worker: f.Worker, run: f.Run}].tasks[key] = of
	}
}

// doubt says that these runs may have ended on a sheet.
func (h *holdings) doubt(items []item) {
	for _, it := range items {
		h.miss(it.Worker)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, it := range items {
		if of, ok := h.find(it.Fence, it.key); ok {
			of.doubtful = true
			h.open[held{worker: it.Worker, run: it.Run}].tasks[it.key] = of
		}
	}
}

// ended says that the store has ended these runs.
func (h *holdings) ended(items []*item) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var (
		key held
		of  *holding
	)
	for _, it := range items {
		if of == nil || it.Run != key.run || it.Worker != key.worker {
			key = held{worker: it.Worker, run: it.Run}
			of = h.open[key]
		}
		if of == nil {
			continue
		}
		if delete(of.tasks, it.key); len(of.tasks) == 0 {
			h.over = append(h.over, of.rows...)
			delete(h.open, key)
			of = nil
		}
	}
}

// takeOver returns the rows that can go, and forgets them.
func (h *holdings) takeOver() []int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	over := h.over
	h.over = nil
	return over
}

// giveBack is for rows that did not go.
func (h *holdings) giveBack(over []int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = append(h.over, over...)
}

// miss says that a claim, or an end, of a worker may not have been counted.
func (h *holdings) miss(worker string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.unsure == nil {
		h.unsure = make(map[string]*doubt)
	}
	d := h.unsure[worker]
	if d == nil {
		d = new(doubt)
		h.unsure[worker] = d
	}
	d.again = true
}

// sweepEvery is how often a worker is swept while something may have been missed. That costs a look at the row
// of each task that it has.
const sweepEvery = 5 * time.Second

// needsSweep says whether a worker is to be swept now.
func (h *holdings) needsSweep(worker string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	d := h.unsure[worker]
	if d == nil || time.Since(d.swept) < sweepEvery {
		return false
	}
	d.swept, d.again = time.Now(), false
	return true
}

// swept says which claims of a worker are gone, and how many are left. Nothing more is missing when
// none of those is left.
func (h *holdings) swept(worker string, gone []int64, left int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, run := range gone {
		delete(h.open, held{worker: worker, run: run})
	}
	if d := h.unsure[worker]; d != nil && left == 0 && !d.again {
		delete(h.unsure, worker)
	}
}

// forget drops all that a worker holds.
func (h *holdings) forget(worker string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.unsure, worker)
	for key := range h.open {
		if key.worker == worker {
			delete(h.open, key)
		}
	}
}

// clearing takes away the claims of an argument, and what is still said to be asked of their runs: who ended such a run at the moment
// when something was asked of it could not see that yet.
func clearing(arg string) string {
	rows := `n = any (` + arg + `::bigint[])`
	return `cleared as (
	delete from @.claims where ` + rows + `
), silenced as (
	delete from @.asked a using @.claims c where c.` + rows + ` and a.worker = c.worker and a.run = c.run and a.task = any (c.tasks)
)`
}

var clearSQL = `with ` + clearing(`$1`) + ` select 1`

// clear takes away the claims of which everything has ended, for those who cannot wait for the next claim or beat.
func (s *Store) clear(ctx context.Context) error {
	over := s.holdings.takeOver()
	if len(over) == 0 {
		return nil
	}
	_, err := s.pool.Exec(ctx, s.q.clear, over)
	if err != nil {
		s.holdings.giveBack(over)
	}
	return err
}

// sweepSQL takes away a worker's claims of which everything has ended. Its last row says how many there were.
const sweepSQL = `
with gone as (
	delete from @.claims c using @.incarnations i where i.id = $1 and c.worker = i.n and not exists (
		select 1 from @.running r where r.claim = c.n
	) returning c.worker, c.run, c.tasks
), silenced as (
	delete from @.asked a using gone g where a.worker = g.worker and a.run = g.run and a.task = any (g.tasks)
)
select run from gone
union all
select count(*) from @.claims c join @.incarnations i on i.n = c.worker where i.id = $1`

// sweep takes away a worker's claims of which everything has ended, also those that were not counted.
func (s *Store) sweep(ctx context.Context, worker string) error {
	rows, err := s.pool.Query(ctx, s.q.sweep, worker)
	if err != nil {
		return err
	}
	gone, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil {
		return err
	}
	last := len(gone) - 1
	s.holdings.swept(worker, gone[:last], int(gone[last])-last)
	return nil
}

package pgstore

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/storekit"
)

// Claim implements task.Store. It polls first if it knows of no route with something to claim, or
// has not polled for a while. A worker that found nothing does not ask the server again until
// something is announced or some time has passed.
func (s *Store) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	if err := s.usable(ctx); err != nil {
		return nil, err
	}
	claimer := claimerOf(req)
	idle, generation := s.idle.isIdle(claimer)
	if idle && s.session.isUp() {
		return nil, nil
	}
	if req.Interrupted {
		return s.claimInterrupted(ctx, req, claimer, generation)
	}
	s.scan.begin()
	defer s.scan.end()
	for range claimRounds {
		routes := s.scan.plan(req)
		if len(routes) == 0 || s.scan.needsPoll() {
			_, next, err := s.poll(ctx, req)
			if err != nil {
				return nil, err
			}
			if routes = s.scan.plan(req); len(routes) == 0 {
				s.idle.set(claimer, generation, next)
				return nil, nil
			}
		}
		if tasks, err := s.claim(ctx, req, routes); err != nil || len(tasks) > 0 || req.MinPriority != nil {
			return tasks, err
		}
	}
	return nil, nil
}

// claimRounds bounds the statements of one call of Claim that find nothing where there was
// something: other processes were quicker.
const claimRounds = 3

// claimInterrupted claims interrupted tasks only. It needs no cursors: interrupted tasks are few,
// have an index of their own, and are found by a poll of that index.
func (s *Store) claimInterrupted(ctx context.Context, req task.ClaimRequest, claimer string, generation uint64) ([]task.Task, error) {
	req.Suspects = 0
	for range claimRounds {
		all, next, err := s.poll(ctx, req)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			s.idle.set(claimer, generation, next)
			return nil, nil
		}
		routes := make([]cursor, len(all))
		for i, f := range all {
			routes[i] = cursor{route: f.route, number: f.number, next: front, first: f.first, exact: true}
		}
		routes = mostUrgent(routes, req)
		answer, err := s.begin(ctx, s.q.ClaimInterrupted, s.claimArgs(req, routes))
		if err != nil {
			return nil, err
		}
		if tasks, _ := answer.tasks(req, routes); len(tasks) > 0 {
			return tasks, nil
		}
	}
	return nil, nil
}

// claim claims from some routes. What it does after the commit cannot fail.
func (s *Store) claim(ctx context.Context, req task.ClaimRequest, routes []cursor) ([]task.Task, error) {
	statement, args := s.q.Claim, s.claimArgs(req, routes)
	if req.MinPriority != nil {
		statement, args = s.q.ClaimFromPriority, append(args, lastPriority(req))
	}
	answer, err := s.begin(ctx, statement, args)
	if err != nil {
		return nil, err
	}
	tasks, ends := answer.tasks(req, routes)
	s.scan.claimed(routes, ends, answer.started, req.MinPriority == nil && tookAll(req, tasks))
	return tasks, nil
}

// lastPriority returns the greatest sort_priority that a claim with a MinPriority may take.
func lastPriority(req task.ClaimRequest) int32 { return ^clampInt32(*req.MinPriority) }

// begin runs a claim's statement.
func (s *Store) begin(ctx context.Context, statement string, args []any) (answer *claimAnswer, err error) {
	err = s.once(ctx, func(ctx context.Context) (err error) {
		answer, err = readClaim(s.pool.QueryRow(ctx, statement, args...))
		return err
	})
	return answer, err
}

// tookAll reports whether a claim took fewer tasks than it might have: then nothing is left.
func tookAll(req task.ClaimRequest, tasks []task.Task) bool {
	taken := make(map[string]int, len(req.Kinds))
	for i := range tasks {
		taken[tasks[i].Kind]++
	}
	for _, k := range req.Kinds {
		if most := min(k.Max, req.Max); most > 0 && taken[k.Kind] >= most {
			return false
		}
	}
	return len(tasks) < req.Max
}

// claimArgs returns the arguments of the statement Claim, in this order:
//
//   - the worker and its epoch;
//   - how many tasks to take, and how many suspects may be among them;
//   - which tasks are not wanted;
//   - columns with an element for each route: its number and names, how many tasks of the kind to
//     take, the position to begin at, and the limits of the kind;
//   - the group of the suspects;
//   - columns with the retention of the kind of each route.
func (s *Store) claimArgs(req task.ClaimRequest, routes []cursor) []any {
	n := len(routes)
	var (
		numbers, most                    = make([]int64, n), make([]int64, n)
		kinds, queues                    = make([]string, n), make([]string, n)
		priorities                       = make([]int32, n)
		queued                           = make([]bool, n)
		runAts                           = make([]time.Time, n)
		ids                              = make([][16]byte, n)
		attempts, crashes, interruptions = make([]int32, n), make([]int32, n), make([]int32, n)
		succeeded, failed, cancelled     []*int64
		ofKind                           = make(map[string]task.KindClaim, len(req.Kinds))
		except                           = make([][16]byte, 0, len(req.Except))
	)
	for _, k := range req.Kinds {
		ofKind[k.Kind] = k
	}
	for i, r := range routes {
		k := ofKind[r.kind]
		numbers[i], kinds[i], queues[i], most[i] = r.number, r.kind, r.queue, int64(min(k.Max, req.Max))
		priorities[i], queued[i], runAts[i], ids[i] = r.next.sortPriority, r.next.queued, r.next.runAt, r.next.id
		attempts[i], crashes[i], interruptions[i] = clampInt32(k.Limits.MaxAttempts), clampInt32(k.Limits.MaxCrashes), clampInt32(k.Limits.MaxInterruptions)
	}
	for i, r := range routes {
		keep := ofKind[r.kind].Retention
		setKeep(&succeeded, i, n, keep.Succeeded)
		setKeep(&failed, i, n, keep.Failed)
		setKeep(&cancelled, i, n, keep.Cancelled)
	}
	for _, id := range req.Except {
		if key, ok := storekit.ParseID(id); ok {
			except = append(except, key)
		}
	}
	return []any{workerKey(req.Worker), s.epochs.of(req.Worker), int64(max(req.Max, 0)), int64(max(req.Suspects, 0)), except,
		numbers, kinds, queues, most, priorities, queued, runAts, ids, attempts, crashes, interruptions, groupArg(req), succeeded, failed, cancelled}
}

// groupArg returns the group of suspects that a claim wants, null for any group.
func groupArg(req task.ClaimRequest) *int64 {
	if req.Suspicion == 0 || req.Suspects <= 0 {
		return nil
	}
	group := int64(req.Suspicion)
	return &group
}

// setKeep sets an element of a column of retentions, in microseconds: -1 means for ever, null that
// the task has no retention of its own.
func setKeep(column *[]*int64, i, n int, keep time.Duration) {
	micros := max(keep.Microseconds(), 1)
	if keep < 0 {
		micros = -1
	}
	if keep != 0 {
		setColumn(column, i, n, &micros, nil)
	}
}

// claimAnswer is the answer of the statement Claim: arrays with an element for each task and, from
// again on, arrays with an element for each task that has run before.
type claimAnswer struct {
	clock    int64 // milliseconds
	started  time.Time
	ids      [][16]byte
	routes   []int64
	priority []int32
	queued   []bool
	runAts   []time.Time
	created  []time.Time
	keys     []string
	payloads [][]byte
	metaOf   [][16]byte // the tasks that have meta
	metas    []string

	again                                                         [][16]byte
	lastRuns, suspicions                                          []int64
	runs, attempts, interruptions, crashes, crashStreaks, streaks []int32
	reasons, errors                                               []string
	checkpoints                                                   [][]byte
	fractions                                                     []float64
	messages                                                      []string
}

// readClaim reads an answer. No row means that the worker is not registered, or that the claim
// belongs to an earlier epoch.
func readClaim(row pgx.Row) (*claimAnswer, error) {
	var a claimAnswer
	err := row.Scan(&a.clock, &a.started, &a.ids, &a.routes, &a.priority, &a.queued, &a.runAts, &a.created, &a.keys, &a.payloads, &a.metaOf, &a.metas,
		&a.again, &a.lastRuns, &a.runs, &a.attempts, &a.interruptions, &a.crashes, &a.crashStreaks, &a.streaks, &a.suspicions, &a.reasons, &a.errors,
		&a.checkpoints, &a.fractions, &a.messages)
	if noRows(err) {
		return nil, task.ErrWorkerGone
	}
	return &a, err
}

// tasks returns the claimed tasks in the order of claims, and where the claim ended in each route.
func (a *claimAnswer) tasks(req task.ClaimRequest, routes []cursor) ([]task.Task, map[int64]position) {
	names := make(map[int64]route, len(routes))
	for _, r := range routes {
		names[r.number] = r.route
	}
	limits := make(map[string]task.Limits, len(req.Kinds))
	for _, k := range req.Kinds {
		limits[k.Kind] = k.Limits
	}
	order := a.order()
	before := make(map[[16]byte]int, len(a.again))
	for i, id := range a.again {
		before[id] = i
	}
	metas := a.metaByID()
	ends := make(map[int64]position, len(routes))
	tasks := slices.Grow(req.Into[:0], len(order))
	for _, o := range order {
		i, r := o.row, names[a.routes[o.row]]
		t := task.Task{
			ID: storekit.FormatID(a.ids[i]), Kind: r.kind, Queue: r.queue, Key: a.keys[i], Payload: a.payloads[i], Meta: metas[a.ids[i]], Priority: int(^a.priority[i]),
			Status: task.StatusRunning, Created: a.created[i], RunAt: a.runAts[i], Started: a.started, Since: a.started,
			Worker: req.Worker, Run: a.clock, Runs: 1, Limits: limits[r.kind],
		}
		if n, ok := before[a.ids[i]]; ok {
			a.addHistory(&t, n)
		}
		if !t.Suspect() {
			ends[a.routes[i]] = o.position
		}
		tasks = append(tasks, t)
	}
	return tasks, ends
}

// metaByID returns the Meta of the tasks that have any.
func (a *claimAnswer) metaByID() map[[16]byte]map[string]string {
	if len(a.metaOf) == 0 {
		return nil
	}
	metas := make(map[[16]byte]map[string]string, len(a.metaOf))
	for i, id := range a.metaOf {
		metas[id], _ = storekit.ParseMeta(a.metas[i]) // an object of texts: addArgs wrote it
	}
	return metas
}

// addHistory fills in what is stored of a task that has run before.
func (a *claimAnswer) addHistory(t *task.Task, n int) {
	t.Run, t.Runs = max(a.lastRuns[n]+1, a.clock), int(a.runs[n])+1
	t.Counters = task.Counters{Attempts: int(a.attempts[n]), Interruptions: int(a.interruptions[n]), Crashes: int(a.crashes[n]),
		CrashStreak: int(a.crashStreaks[n]), InterruptStreak: int(a.streaks[n]), Suspicion: task.Suspicion(a.suspicions[n])}
	t.Reason, t.Error, t.Checkpoint = task.Reason(a.reasons[n]), a.errors[n], a.checkpoints[n]
	t.Progress = task.Progress{Fraction: a.fractions[n], Message: a.messages[n]}
}

// placed is a row of an answer with its position in the order.
type placed struct {
	position
	row int
}

// order returns the rows in the order in which the tasks were to be claimed. The answer has them in
// the order in which they were deleted.
func (a *claimAnswer) order() []placed {
	all := make([]placed, len(a.ids))
	for i, id := range a.ids {
		all[i] = placed{position{sortPriority: a.priority[i], queued: a.queued[i], runAt: a.runAts[i], id: id}, i}
	}
	compare := func(x, y placed) int { return x.compare(y.position) }
	if !slices.IsSortedFunc(all, compare) {
		slices.SortFunc(all, compare)
	}
	return all
}

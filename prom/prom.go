// Package prom exports Prometheus metrics about the tasks, the worker and the stop of a Go service.
// They have the names of the metrics of the program lastcall, which docs/cli.md of the repository
// lists.
//
// A service creates one [Metrics], registers it, and passes it the store, the worker and the group
// to measure:
//
//	m := prom.New()
//	prometheus.MustRegister(m)
//	store := m.Store(opened)
//	worker, err := task.NewWorker(task.WorkerConfig{Store: store, Mux: &mux, Observe: m.Observe})
//	...
//	m.WatchTasks(store)
//	m.WatchWorker(worker)
//	m.WatchStop(ctx)
//
// Serve them with [lastcall.ServeUntilClose]: then scrapes are answered during the whole stop, and
// the stop does not wait for them.
package prom

import (
	"context"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lastcall-go/lastcall"
	"github.com/lastcall-go/lastcall/task"
)

// Metrics are the metrics of one process. It is a [prometheus.Collector]. A second one in the same
// registry needs labels of its own: use prometheus.WrapRegistererWith. Every method may be called
// at any time, before or after the registration.
type Metrics struct {
	waited, took  *prometheus.HistogramVec
	interruptions *prometheus.CounterVec
	crashes       prometheus.Counter
	unresponsive  *prometheus.CounterVec
	stale         prometheus.Counter
	calls         *prometheus.HistogramVec
	callErrors    *prometheus.CounterVec
	ticks         *prometheus.CounterVec
	late          *prometheus.HistogramVec

	mu      sync.Mutex
	workers []*task.Worker
	stop    context.Context //nolint:containedctx // a context of the group whose stop is measured
	tasks   *tally
}

var _ prometheus.Collector = (*Metrics)(nil)

// New returns new Metrics. All of them are zero.
func New() *Metrics {
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
	}
	long := []float64{0.01, 0.1, 0.5, 1, 5, 15, 60, 300, 1800, 7200, 21600, 86400}
	short := []float64{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30}
	m := &Metrics{
		waited: histogram("lastcall_task_wait_seconds", "How long tasks were ready to be claimed before their run began in this process.", long, "kind"),
		took:   histogram("lastcall_task_run_seconds", "How long runs took in this process, by the resulting status of the task.", long, "kind", "status"),
		interruptions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_task_interruptions_total", Help: "Runs that were interrupted on purpose or released, as recorded by this process.",
		}, []string{"reason"}),
		crashes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lastcall_task_crashes_total", Help: "Runs whose process died, as recorded by this process.",
		}),
		unresponsive: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_unresponsive_handlers_total", Help: "Handlers of this process that had not returned 10 s after their context had ended.",
		}, []string{"kind"}),
		stale: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lastcall_stale_writes_refused_total", Help: "Writes of this process that the store refused, because the process no longer held the run.",
		}),
		calls: histogram("lastcall_store_seconds", "How long the store took to answer, by call.", short, "call"),
		callErrors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_store_errors_total", Help: "Calls of the store that returned an error, by call.",
		}, []string{"call"}),
		ticks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lastcall_schedule_ticks_total", Help: "Ticks that this process has made, by their outcome: created, a task; skipped, because the task before had not ended; left_out, because the schedule was paused or the tick too late.",
		}, []string{"set", "outcome"}),
		late: histogram("lastcall_schedule_delay_seconds", "How long after its tick this process created the task of a schedule.", long, "set"),
	}
	for _, r := range []task.Reason{task.ReasonStop, task.ReasonDeadline, task.ReasonFrozen, task.ReasonLost, task.ReasonRequested, task.ReasonReleased, task.ReasonTurn} {
		m.interruptions.WithLabelValues(string(r))
	}
	return m
}

// Observe counts the beginnings and ends of runs. Set it as Observe of a [task.WorkerConfig]. A
// service with an Observe function of its own calls it from there.
func (m *Metrics) Observe(_ context.Context, e task.Event) {
	if e.Unresponsive {
		m.unresponsive.WithLabelValues(e.Task.Kind).Inc()
		return
	}
	if e.Status == task.StatusRunning {
		m.waited.WithLabelValues(e.Task.Kind).Observe(e.Waited.Seconds())
		return
	}
	if e.Reclaimed {
		return // the duration is unknown, and measuredStore counts the crash
	}
	status := string(e.Status)
	if e.Stale {
		status = "stale"
	}
	m.took.WithLabelValues(e.Task.Kind, status).Observe(e.Took.Seconds())
}

// WatchWorker adds a worker, for the metric of paused kinds.
func (m *Metrics) WatchWorker(w *task.Worker) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.workers = append(m.workers, w)
}

// WatchStop sets the group whose stop the metrics report: the group of a context. It replaces an
// earlier one.
func (m *Metrics) WatchStop(ctx context.Context) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stop = ctx
}

// WatchTasks sets the store whose tasks the metrics count, and whose schedules they show. It
// replaces an earlier one. The tasks are counted during a scrape, once a second at most, with a
// timeout of five seconds. Every process that watches a store counts all of its tasks: use max over
// the processes in a query, not sum.
func (m *Metrics) WatchTasks(s task.Store) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tasks = &tally{store: s}
}

var (
	phaseDesc    = prometheus.NewDesc("lastcall_stop_phase", "1 for the phase that the process is in: running, drain, interrupt or close.", []string{"phase"}, nil)
	leftDesc     = prometheus.NewDesc("lastcall_stop_remaining_seconds", "How much time is left in the current phase of a stop. Present only during a stop that has a deadline.", nil, nil)
	pauseDesc    = prometheus.NewDesc("lastcall_kind_paused", "1 for each kind that this process has paused, by the reason. Present only while the kind is paused.", []string{"kind", "reason"}, nil)
	tasksDesc    = prometheus.NewDesc("lastcall_tasks", "How many tasks there are in the store.", []string{"queue", "kind", "status"}, nil)
	suspectsDesc = prometheus.NewDesc("lastcall_suspects", "How many tasks were in two crashes in a row or cut off by three stops, and therefore run in groups.", []string{"state"}, nil)
	upDesc       = prometheus.NewDesc("lastcall_store_up", "1 if the store answered during this scrape.", nil, nil)

	scheduleLabels = []string{"set", "schedule"}
	nextTickDesc   = prometheus.NewDesc("lastcall_schedule_next_tick_timestamp_seconds", "When the next tick of a schedule is due. Absent if there is none.", scheduleLabels, nil)
	lastTickDesc   = prometheus.NewDesc("lastcall_schedule_last_tick_timestamp_seconds", "The last tick of a schedule that created a task. Absent if there was none.", scheduleLabels, nil)
	suspendedDesc  = prometheus.NewDesc("lastcall_schedule_paused", "1 if a schedule is paused, otherwise 0.", scheduleLabels, nil)
)

// kept returns the metrics that are updated as events happen. The others are computed at a scrape.
func (m *Metrics) kept() []prometheus.Collector {
	return []prometheus.Collector{m.waited, m.took, m.interruptions, m.crashes, m.unresponsive, m.stale, m.calls, m.callErrors, m.ticks, m.late}
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range m.kept() {
		c.Describe(ch)
	}
	for _, d := range []*prometheus.Desc{phaseDesc, leftDesc, pauseDesc, tasksDesc, suspectsDesc, upDesc, nextTickDesc, lastTickDesc, suspendedDesc} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(ch chan<- prometheus.Metric) {
	m.mu.Lock()
	workers, stop, tasks := m.workers, m.stop, m.tasks
	m.mu.Unlock()
	if tasks != nil {
		tasks.collect(ch) // first: its calls of the store are then counted in the same scrape
	}
	collectPauses(ch, workers)
	if stop != nil {
		collectStop(stop, ch)
	}
	for _, c := range m.kept() {
		c.Collect(ch)
	}
}

// collectPauses collects the paused kinds of workers, each once, since two workers may have paused
// the same kind.
func collectPauses(ch chan<- prometheus.Metric, workers []*task.Worker) {
	told := map[[2]string]bool{}
	for _, w := range workers {
		for _, k := range w.PausedKinds() {
			if one := [2]string{k.Kind, k.Reason}; !told[one] {
				told[one] = true
				ch <- prometheus.MustNewConstMetric(pauseDesc, prometheus.GaugeValue, 1, k.Kind, k.Reason)
			}
		}
	}
}

// collectStop collects the phase of a group's stop and the time left.
func collectStop(ctx context.Context, ch chan<- prometheus.Metric) {
	now := StopPhase(ctx)
	for _, phase := range []string{"running", "drain", "interrupt", "close"} {
		value := 0.0
		if phase == now {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(phaseDesc, prometheus.GaugeValue, value, phase)
	}
	if left, ok := lastcall.TimeLeft(ctx); ok {
		ch <- prometheus.MustNewConstMetric(leftDesc, prometheus.GaugeValue, left.Seconds())
	}
}

// StopPhase returns the stop phase of the context's group, as in lastcall_stop_phase: running,
// drain, interrupt or close.
func StopPhase(ctx context.Context) string {
	select {
	case <-lastcall.LastCall(ctx):
	default:
		return "running"
	}
	switch {
	case lastcall.UntilAbandon(ctx).Err() != nil:
		return "close"
	case lastcall.UntilInterrupt(ctx).Err() != nil:
		return "interrupt"
	}
	return "drain"
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lastcall-go/lastcall/cmd/lastcall/internal/execkind"
	"github.com/lastcall-go/lastcall/internal/proc"
	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/pgstore"
	"github.com/lastcall-go/lastcall/task/sqlitestore"
)

func newDoctor() *cobra.Command {
	var (
		to        target
		manifests []string

		image, container string
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a store, its workers, and this machine's settings, or a manifest",
		Long: `Check a store, its workers and this machine:

  - the store or server can be reached, and its tables fit this program
  - a SQLite file is not damaged (all of it is read), and others cannot read it
  - workers are alive, and the clocks are not far apart
  - every waiting task has a worker that knows its kind, and no queue is paused
  - the grace fits the platform, and programs get PID namespaces

It changes nothing. Each line begins with ok, warn or fail. A line that is not ok says what to do.

With -f it checks Kubernetes manifests or a Compose file instead, of any program: it finds what
makes a stop go wrong. lastcall rehearse --explain explains the codes. With --image it also looks
into the image that they run: the programs of the preStop hook, the entrypoint, STOPSIGNAL and USER.

Exit codes: 0 nothing has failed, though there may be warnings; 1 something has.`,
		Example: `  lastcall doctor --store sqlite:tasks.db
  lastcall doctor --store-file /etc/lastcall/store
  lastcall doctor -f deployment.yaml
  lastcall doctor -f deployment.yaml --image registry.example/api:1
  helm template . | lastcall doctor -f -`,
		Args: args(0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(manifests) > 0 {
				return examineManifests(cmd, manifests, image, container)
			}
			if image != "" || container != "" {
				return usageError{errors.New("--image and --container say something about a manifest: give it with -f")}
			}
			d := &doctor{w: cmd.OutOrStdout(), env: os.Getenv}
			d.examine(cmd.Context(), &to)
			if d.failed {
				return exitError(1)
			}
			return d.err
		},
	}
	to.flags(cmd)
	cmd.Flags().StringArrayVarP(&manifests, "manifest", "f", nil, "a file with manifests, or - for standard input; may be given several times")
	cmd.Flags().StringVar(&image, "image", "", "the image of a container of the manifest: a file of docker save or podman save, an OCI layout, or the name of an image that Docker, Podman or containerd has")
	cmd.Flags().StringVar(&container, "container", "", "the container that runs --image, if its name does not say it")
	return cmd
}

// doctor checks, and prints its findings.
type doctor struct {
	w      io.Writer
	env    func(string) string
	failed bool
	err    error // of writing
}

func (d *doctor) say(word, what, format string, args ...any) {
	if _, err := fmt.Fprintf(d.w, "%-4s  %-8s  %s\n", word, what, fmt.Sprintf(format, args...)); err != nil {
		d.err = err
	}
}

func (d *doctor) ok(what, format string, args ...any)   { d.say("ok", what, format, args...) }
func (d *doctor) warn(what, format string, args ...any) { d.say("warn", what, format, args...) }
func (d *doctor) fail(what, format string, args ...any) {
	d.failed = true
	d.say("fail", what, format, args...)
}

func (d *doctor) examine(ctx context.Context, to *target) {
	d.grace()
	for _, text := range to.looseFiles() {
		d.warn("files", "%s", text)
	}
	d.programs()
	_, store, err := to.serverAddress()
	if err != nil {
		d.fail("store", "%v", err)
		return
	}
	if store != "" && !d.schema(ctx, store) {
		return
	}
	b, closer, err := to.open(ctx, false)
	if err != nil {
		d.fail("store", "%v", withHint(err))
		return
	}
	d.tasks(ctx, b, store == "")
	if err := closer.Close(); err != nil {
		d.fail("store", "%v", err)
	}
}

// programs reports how the programs of kinds would be isolated if this user started serve here.
func (d *doctor) programs() {
	isolation, err := execkind.FindIsolation(new(proc.Keeper))
	if err != nil {
		d.ok("programs", "those of kinds would share the PID namespace of this user here, where docs/exec.md says what that means: %v", err)
		return
	}
	d.ok("programs", "those of kinds would have %s here", isolation)
}

// schema reports whether a store can be reached and used.
func (d *doctor) schema(ctx context.Context, address string) bool {
	if !isPostgres(address) {
		readers, strays, err := checkFile(ctx, address)
		if err != nil {
			d.fail("store", "%v", err)
			return false
		}
		if strays != nil {
			d.fail("store", "%v", strays)
		}
		d.ok("store", "%s can be opened, and nothing in it is damaged", shownStore(address))
		if readers != nil {
			d.warn("files", "%v", readers)
		} else {
			d.ok("files", "no other user of this machine can read them")
		}
		d.ok("clock", "there is only one: a file is for the processes of this machine, so nothing is compared")
		return true
	}
	before := time.Now()
	state, err := pgstore.InspectSchema(ctx, pgstore.Config{DSN: address, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		d.fail("store", "%v", err)
		return false
	}
	if !state.Usable() {
		d.fail("store", "%s: %s", shownStore(address), schemaWords(state))
		return false
	}
	d.ok("store", "%s: %s", shownStore(address), schemaWords(state))
	d.clock(before, state.Now, time.Now())
	return true
}

// checkFile opens a SQLite file and reads all of it. If other users can read the file, readers is
// set. If a process has another file open that had this one's name, strays is set.
func checkFile(ctx context.Context, address string) (readers, strays, err error) {
	s, err := openStore(ctx, address, openOptions{}, slog.Default())
	if err != nil {
		return nil, nil, err
	}
	if file, ok := s.(*sqlitestore.Store); ok {
		readers, strays, err = file.CheckPermissions(), file.CheckProcesses(ctx), file.CheckIntegrity(ctx)
	}
	return readers, strays, errors.Join(err, s.Close())
}

// clock compares the store's clock with this machine's. The store's was read between before and
// after.
func (d *doctor) clock(before, store, after time.Time) {
	off := max(before.Sub(store), store.Sub(after), 0).Round(time.Millisecond)
	if off > 5*time.Second {
		d.warn("clock", "the store's clock is %v away from this machine's: tasks go by the store's alone, but logs are hard to compare; let both follow NTP", off)
		return
	}
	d.ok("clock", "the store's clock is this machine's, within %v", (off + after.Sub(before)).Round(time.Millisecond))
}

// tasks checks workers, queues and waiting tasks.
func (d *doctor) tasks(ctx context.Context, b backend, server bool) {
	counts, err := b.Count(ctx)
	var workers []task.WorkerInfo
	if err == nil {
		workers, err = b.Workers(ctx)
	}
	if err != nil {
		d.fail("store", "%v", withHint(err))
		return
	}
	if server {
		d.ok("server", "it answers, and its store too")
	}
	d.workers(workers)
	d.waiting(counts, workers)
	d.suspects(counts)
	d.schedules(ctx, b)
}

// schedules finds schedules that are due, but that no process runs.
func (d *doctor) schedules(ctx context.Context, b backend) {
	const most = 1000
	all, err := b.Schedules(ctx, task.ScheduleQuery{Limit: most})
	if err != nil {
		d.warn("schedules", "%v", withHint(err))
		return
	}
	late, example := 0, ""
	for _, s := range all {
		if !s.Paused && !s.Next.IsZero() && time.Since(s.Next) > time.Minute {
			late++
			example = s.Name
		}
	}
	if late > 0 {
		d.warn("schedules", "%d are due for more than a minute, as %s: is a process with these schedules running, or does their task before not end? (lastcall schedules)", late, plain(example))
	}
}

func (d *doctor) workers(all []task.WorkerInfo) {
	running, stopping, dead := 0, 0, 0
	for _, w := range all {
		switch {
		case !living(w):
			dead++
		case w.State == task.WorkerStopping:
			stopping++
		default:
			running++
		}
	}
	for _, w := range all {
		if n := len(w.Unresponsive); living(w) && n > 0 {
			d.warn("handlers", "%d of process %d on %s do not return, though their contexts have ended, and keep %d of %d slots: the tasks %s; its log has their stacks",
				n, w.PID, plain(w.Host), n, w.Slots, plain(strings.Join(w.Unresponsive[:min(n, 5)], ", ")))
		}
	}
	d.paused(all)
	switch {
	case dead > 0 && running == 0:
		d.warn("workers", "%d dead, and none that could resume their tasks: start lastcall serve on this store", dead)
	case dead > 0:
		d.warn("workers", "%d dead, whose tasks should be resumed within seconds: look again, and if they are still there at the logs of the %d running ones", dead, running)
	case running == 0:
		d.warn("workers", "none is running: tasks wait until lastcall serve is started on this store")
	default:
		d.ok("workers", "%d running, %d stopping", running, stopping)
	}
}

// paused reports kinds that a worker cannot run now.
func (d *doctor) paused(all []task.WorkerInfo) {
	for _, w := range all {
		for _, k := range w.Paused {
			if !living(w) {
				continue
			}
			able := slices.ContainsFunc(all, func(o task.WorkerInfo) bool {
				return living(o) && o.State == task.WorkerRunning && slices.Contains(o.Kinds, k.Kind) &&
					!slices.ContainsFunc(o.Paused, func(p task.PausedKind) bool { return p.Kind == k.Kind })
			})
			meanwhile := "no worker runs its tasks, which wait"
			if able {
				meanwhile = "other workers take its tasks meanwhile"
			}
			d.warn("paused", "process %d on %s cannot run kind %s now: %s; %s. It tries again by itself, once a minute at least",
				w.PID, plain(w.Host), plain(k.Kind), plain(k.Error), meanwhile)
		}
	}
}

// waiting finds tasks that nobody will run.
func (d *doctor) waiting(counts task.Counts, workers []task.WorkerInfo) {
	known := make(map[string]bool)
	for _, w := range workers {
		for _, kind := range w.Kinds {
			known[kind] = known[kind] || living(w)
		}
	}
	var unknown []string
	waiting := make(map[string]int)
	for _, c := range counts.Tasks {
		if !c.Status.Claimable() {
			continue
		}
		waiting[c.Queue] += c.N
		if !known[c.Kind] && !slices.Contains(unknown, c.Kind) {
			unknown = append(unknown, c.Kind)
		}
	}
	if len(unknown) > 0 {
		d.warn("kinds", "tasks wait whose kind no running worker knows: %s; add it to a worker's configuration, or cancel them", strings.Join(unknown, ", "))
	} else {
		d.ok("kinds", "every task that waits has a worker that knows its kind")
	}
	for _, queue := range counts.Paused {
		d.warn("queues", "%s is paused, and %d tasks wait in it: lastcall resume %s", queue, waiting[queue], queue)
	}
}

// suspects reports that there are suspect tasks, and what that means.
func (d *doctor) suspects(counts task.Counts) {
	if waiting, running := counts.SuspectsWaiting, counts.SuspectsRunning; waiting+running > 0 {
		d.warn("suspects", "%d wait and %d run: each was in two crashes in a row, or cut off by three stops, so a worker runs them in groups, one group at a time, "+
			"until it is known which one ends its process; lastcall show ID has a task's group and crashes", waiting, running)
	}
}

// grace compares the grace that serve would use here with that of the platform.
func (d *doctor) grace() {
	text := d.env(graceEnv)
	grace := 30 * time.Second
	if err := checkGrace(text); err != nil {
		d.fail("grace", "serve would refuse %v", err)
		return
	} else if text != "" && text != "none" {
		grace, _ = time.ParseDuration(text) // checked above
	}
	switch {
	case d.env("KUBERNETES_SERVICE_HOST") != "" && text == "none":
		d.warn("grace", "LASTCALL_GRACE is none in Kubernetes, which still sends SIGKILL: set it to the pod's terminationGracePeriodSeconds")
	case d.env("KUBERNETES_SERVICE_HOST") != "" && text == "":
		d.warn("grace", "in Kubernetes, and LASTCALL_GRACE is not set: serve takes 30s; set it to the pod's terminationGracePeriodSeconds, unless that is 30 or serve has --grace")
	case d.env("INVOCATION_ID") != "" && text == "":
		d.warn("grace", "under systemd, and LASTCALL_GRACE is not set: serve takes 30s; set it to the unit's TimeoutStopSec (90s where nothing is said), unless serve has --grace")
	case text == "":
		d.ok("grace", "30s, the default; give serve --grace or LASTCALL_GRACE where the platform waits for another time")
	case text == "none":
		d.ok("grace", "none: a stop takes as long as the tasks do")
	default:
		d.ok("grace", "%v, as LASTCALL_GRACE says", grace)
	}
}

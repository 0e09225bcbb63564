package manifest

import (
	"fmt"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	core "k8s.io/api/core/v1"

	"github.com/lastcall-go/lastcall/rehearse"
)

// Finding is something wrong in a manifest that can be seen without running anything.
type Finding struct {
	Code rehearse.Code
	// Fails is false if it may be intended, or is not certain.
	Fails bool
	// Place is FILE:LINE. Who is the workload and its container. Seen is what was found there.
	Place, Who, Seen string

	workload *Workload
}

// Empty returns an error that says why there is nothing to examine, nil if there is something.
func (s *Set) Empty() error {
	if len(s.Workloads) > 0 {
		return nil
	}
	return s.nothing()
}

// Place returns where the workload begins, as FILE:LINE.
func (w *Workload) Place() string {
	if w.compose {
		return w.place(w.pod)
	}
	return w.place("")
}

// In reports whether any of the findings is the workload's.
func (w *Workload) In(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.workload == w })
}

// Examine returns the findings of all workloads, in the order of the manifest.
func (s *Set) Examine() []Finding {
	x := &examination{set: s}
	for _, w := range s.Workloads {
		x.workload = w
		x.checkWorkload()
		for _, c := range w.running() {
			x.container = c
			x.checkContainer()
		}
		x.container = nil
	}
	return x.found
}

// examination checks one container of one workload after another.
type examination struct {
	set       *Set
	workload  *Workload
	container *core.Container // nil for findings about the whole workload
	found     []Finding
}

func (x *examination) say(code rehearse.Code, fails bool, place, format string, args ...any) {
	who := x.workload.String()
	if x.container != nil && (len(x.workload.Pod.Containers) > 1 || x.workload.isSidecar(x.container)) {
		who += ", container " + x.container.Name
	}
	x.found = append(x.found, Finding{workload: x.workload, Code: code, Fails: fails, Place: place, Who: who, Seen: fmt.Sprintf(format, args...)})
}

// at returns the place of a field of the container.
func (x *examination) at(rest string) string {
	return x.workload.place(x.workload.pathOf(x.container) + rest)
}

// checkContainer adds the findings about the container.
func (x *examination) checkContainer() {
	x.hook()
	x.budget()
	x.shell()
	x.signal()
	x.liveness()
	x.proxy()
	x.nonRoot()
	x.unpacked()
}

// hook checks the preStop hook against the grace, and against the programs that the image lacks.
func (x *examination) hook() {
	c := x.container
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return
	}
	takes, grace := hookTime(c), x.workload.seconds()
	if takes >= grace {
		x.say(rehearse.HookOverruns, true, x.at(".lifecycle.preStop"), "preStop takes %d s of a grace of %d s: the signal comes when the time is over, and two seconds are left", takes, grace)
	}
	for _, one := range probesOf(c) {
		if own := one.probe.TerminationGracePeriodSeconds; own != nil && takes >= *own && takes < grace {
			x.say(rehearse.HookOverruns, true, x.at("."+one.name+".terminationGracePeriodSeconds"), "preStop takes %d s of the %d s of %s", takes, *own, one.name)
		}
	}
	if exec := c.Lifecycle.PreStop.Exec; exec != nil && x.set.unpacked[c] == nil && slices.Contains(tools, path.Base(exec.Command[0])) && bare(c.Image) {
		x.say(rehearse.HookFails, true, x.at(".lifecycle.preStop"), "preStop runs %s, which the image %s does not have: use preStop: {sleep: {seconds: N}}", exec.Command[0], c.Image)
	}
}

// tools are programs that only an image with a distribution has.
var tools = []string{"sh", "bash", "ash", "sleep", "curl", "wget", "kill", "pkill", "killall", "nc"}

// bare reports whether an image is known to contain a program and nothing else.
func bare(image string) bool {
	name, tag, _ := strings.Cut(image, ":")
	switch {
	case strings.Contains(name, "distroless"):
		return !strings.Contains(tag, "debug")
	case strings.HasPrefix(name, "cgr.dev/chainguard/"):
		return !strings.Contains(tag, "dev")
	}
	return false
}

// hookTime returns how many whole seconds a hook takes at least: those of a sleep.
func hookTime(c *core.Container) int64 {
	if c.Lifecycle == nil || c.Lifecycle.PreStop == nil {
		return 0
	}
	switch h := c.Lifecycle.PreStop; {
	case h.Sleep != nil:
		return h.Sleep.Seconds
	case h.Exec != nil:
		text := strings.Join(h.Exec.Command, " ")
		if inner := shellOf(h.Exec.Command); inner != "" {
			text = inner
		}
		total := 0.0
		for _, found := range sleeps.FindAllStringSubmatch(text, -1) {
			n, _ := strconv.ParseFloat(found[1], 64)
			total += n * map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[found[2]]
		}
		return int64(total)
	}
	return 0
}

var sleeps = regexp.MustCompile(`(?:^|[;&|\n/]|\s)sleep\s+(\d+(?:\.\d+)?)([smh]?)(?:$|[;&|\n\s])`)

// seconds returns the grace in seconds: that of the manifest, or Kubernetes' default.
func (w *Workload) seconds() int64 {
	if s := w.Pod.TerminationGracePeriodSeconds; s != nil {
		return *s
	}
	return 30
}

// budget compares the time limits of the program itself with what the grace leaves.
func (x *examination) budget() {
	c := x.container
	left := time.Duration(x.workload.seconds()-hookTime(c)) * time.Second
	if left <= 0 {
		return // the hook is a finding of its own
	}
	for _, l := range limits(c) {
		most := left - time.Second
		if l.wholeGrace {
			most = left
		}
		if l.takes > most {
			x.say(Budget, l.known, x.at(l.path), "%s gives it %v, of the %v that preStop leaves of the grace", l.name, l.takes, left)
		}
	}
}

// shell finds a shell, or a tool, between the runtime and the program.
func (x *examination) shell() {
	command, at := slices.Concat(x.container.Command, x.container.Args), ".command"
	if len(x.container.Command) == 0 {
		at = ".args"
		if im := x.set.unpacked[x.container]; im != nil {
			command, at = commandIn(im, x.container), ""
		}
	}
	command = belowInit(command)
	if len(command) == 0 {
		return
	}
	if tool := path.Base(command[0]); slices.Contains([]string{"npm", "yarn", "pnpm", "npx"}, tool) {
		x.say(BelowShell, false, x.at(at), "%s gets the signal, and starts the program below a shell", tool)
		return
	}
	text := shellOf(command)
	if strings.TrimSpace(text) == "" || replacesItself(path.Base(command[0]), text) {
		return
	}
	x.say(BelowShell, false, x.at(at), "%s gets the signal, and runs its command, %q, as its children", path.Base(command[0]), text)
}

// signal checks the stop signal.
func (x *examination) signal() {
	l := x.container.Lifecycle
	if l == nil || l.StopSignal == nil {
		return
	}
	place := x.at(".lifecycle.stopSignal")
	switch {
	case slices.Contains([]string{"KILL", "STOP", "9", "19"}, strings.TrimPrefix(strings.ToUpper(string(*l.StopSignal)), "SIG")):
		x.say(BadSignal, true, place, "no program can handle %s", *l.StopSignal)
	case x.workload.Pod.OS == nil && !x.workload.compose:
		x.say(BadSignal, true, place, "stopSignal is %s, and the pod has no os.name", *l.StopSignal)
	}
}

// liveness compares the liveness probe with the readiness probe.
func (x *examination) liveness() {
	live, ready := x.container.LivenessProbe, x.container.ReadinessProbe
	if live == nil || ready == nil || !reflect.DeepEqual(live.ProbeHandler, ready.ProbeHandler) {
		return
	}
	if patience(live) <= patience(ready) {
		x.say(SameProbe, false, x.at(".livenessProbe"), "livenessProbe asks what readinessProbe asks, and gives up after the same %d s", patience(live))
	}
}

// patience returns after how many seconds of failures a probe gives up.
func patience(p *core.Probe) int {
	period, failures := int(p.PeriodSeconds), int(p.FailureThreshold)
	if period == 0 {
		period = 10
	}
	if failures == 0 {
		failures = 3
	}
	return period * failures
}

// proxy finds a proxy that serves the program, but is an ordinary container of the same pod.
func (x *examination) proxy() {
	if len(x.workload.Pod.Containers) < 2 || x.workload.isSidecar(x.container) {
		return
	}
	image, _, _ := strings.Cut(path.Base(x.container.Image), "@")
	image, _, _ = strings.Cut(image, ":")
	if slices.Contains(proxies, image) {
		x.say(rehearse.SidecarGone, false, x.at(""), "%s gets its signal together with the program that needs it: make it an init container with restartPolicy: Always", image)
	}
}

// proxies are images that run in the same pod as a program, which reaches others, or is reached,
// through them.
var proxies = []string{
	"envoy", "proxyv2", "linkerd-proxy", "proxy", "cloud-sql-proxy", "cloudsql-proxy", "gce-proxy", "alloydb-auth-proxy", "pgbouncer",
	"oauth2-proxy", "consul-dataplane", "daprd", "vault", "fluent-bit", "fluentd", "filebeat", "vector", "opentelemetry-collector", "opentelemetry-collector-contrib",
}

// isSidecar reports whether a container is a restartable init container.
func (w *Workload) isSidecar(c *core.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == core.ContainerRestartPolicyAlways &&
		slices.ContainsFunc(w.Pod.InitContainers, func(one core.Container) bool { return one.Name == c.Name })
}

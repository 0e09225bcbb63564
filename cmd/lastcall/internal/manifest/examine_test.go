package manifest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/rehearse"
)

// mistake is one change to a manifest in which nothing is wrong.
type mistake struct {
	code     rehearse.Code
	fails    bool
	from, to string
	seen     string
}

var mistakes = map[string][]mistake{
	"service.yaml": {
		{rehearse.HookOverruns, true, "sleep: {seconds: 5}", "sleep: {seconds: 40}", "preStop takes 40 s of a grace of 40 s"},
		{rehearse.HookOverruns, true, "preStop: {sleep: {seconds: 5}}", "preStop: {exec: {command: [/wait, sleep 1m]}}", "preStop takes 60 s of a grace of 40 s"},
		{rehearse.HookOverruns, true, "failureThreshold: 6", "failureThreshold: 6\n            terminationGracePeriodSeconds: 5", "preStop takes 5 s of the 5 s of livenessProbe"},
		{rehearse.HookFails, true, "preStop: {sleep: {seconds: 5}}", "preStop: {exec: {command: [/bin/sh, -c, sleep 5]}}", "the image gcr.io/distroless/base does not have"},
		{Budget, false, "--shutdown-timeout=30s", "--shutdown-timeout=35s", "--shutdown-timeout gives it 35s, of the 35s that preStop leaves"},
		{Budget, false, `"20000"`, `"34001"`, "DRAIN_TIMEOUT_MS gives it 34.001s"},
		{Budget, true, "--shutdown-timeout=30s", "gunicorn, --graceful-timeout, '90'", "--graceful-timeout gives it 1m30s"},
		{Budget, true, "[/server, --shutdown-timeout=30s]", "[sh, -c, 'exec uvicorn --timeout-graceful-shutdown 36 app']", "--timeout-graceful-shutdown gives it 36s"},
		{Budget, true, "- {name: PORT, value: \"8080\"}", "- {name: SPRING_LIFECYCLE_TIMEOUT_PER_SHUTDOWN_PHASE, value: PT40S}", "gives it 40s"},
		{Budget, true, "- {name: PORT, value: \"8080\"}", "- {name: GUNICORN_CMD_ARGS, value: --workers=2 --graceful-timeout=50}", "--graceful-timeout gives it 50s"},
		{Budget, true, "- {name: PORT, value: \"8080\"}", "- {name: LASTCALL_GRACE, value: 40s}", "LASTCALL_GRACE gives it 40s, of the 35s"},
		{Budget, false, "terminationGracePeriodSeconds: 40", "terminationGracePeriodSeconds: 30", "of the 25s that preStop leaves"},
		{BelowShell, false, "[/server, --shutdown-timeout=30s]", "[/bin/sh, -c, 'cd /app && ./server']", `sh gets the signal, and runs its command, "cd /app && ./server", as its children`},
		{BelowShell, false, "[/server, --shutdown-timeout=30s]", "[bash, -ec, './server | tee log']", "bash gets the signal"},
		{BelowShell, false, "[/server, --shutdown-timeout=30s]", "[sh, -c, ./server --port 80]", "sh gets the signal"},
		{BelowShell, false, "[/server, --shutdown-timeout=30s]", "[bash, -c, './server & wait']", "bash gets the signal"},
		{BelowShell, false, "[/server, --shutdown-timeout=30s]", "[npm, start]", "npm gets the signal"},
		{BelowShell, false, "[/server, --shutdown-timeout=30s]", "[tini, -v, --, sh, -c, 'sleep 1; ./server']", "sh gets the signal"},
		{BadSignal, true, "stopSignal: SIGTERM", "stopSignal: SIGKILL", "no program can handle SIGKILL"},
		{BadSignal, true, "os: {name: linux}", "hostname: x", "the pod has no os.name"},
		{NoReadiness, false, "readinessProbe:", "startupProbe:", "no container has a readinessProbe"},
		{SameProbe, false, "failureThreshold: 6", "periodSeconds: 2", "gives up after the same 6 s"},
		{SharedFile, true, `"postgres://db/api"`, `"sqlite:/data/api.db"`, "3 replicas, and an argument is sqlite:/data/api.db"},
		{SharedFile, true, `value: "8080"`, `value: "/data/api.sqlite3"`, "PORT is /data/api.sqlite3"},
		{NoBudget, false, "selector: {matchLabels: {app: api}}\n---", "selector: {matchLabels: {app: web}}\n---", "selects its 3 pods"},
		{NoEviction, true, "maxUnavailable: 1\n", "maxUnavailable: 0\n", "lets none of 3 pods go"},
		{NoEviction, true, "maxUnavailable: 1\n", "minAvailable: 3\n", "lets none of 3 pods go"},
		{NoEviction, true, "maxUnavailable: 1\n", "minAvailable: 67%\n", "lets none of 3 pods go"},
		{AlwaysReady, false, "ports: [{name: http, port: 80, targetPort: http}]", "ports: [{name: http, port: 80, targetPort: http}]\n  publishNotReadyAddresses: true", "Service api has publishNotReadyAddresses"},
		{AllAtOnce, false, "maxUnavailable: 25%", "maxUnavailable: 100%", "maxUnavailable is 100% of 3 pods"},
		{AllAtOnce, false, "maxUnavailable: 25%", "maxUnavailable: 4", "maxUnavailable is 4 of 3 pods"},
		{Refused, true, "ports: [{name: http, containerPort: 8080}]", "securityContext: {runAsNonRoot: true, runAsUser: 0}", "runAsNonRoot is set, and runAsUser is 0"},
		{rehearse.SidecarGone, false, "      containers:\n", "      containers:\n        - {name: db, image: 'gcr.io/cloud-sql-connectors/cloud-sql-proxy:2.14'}\n", "cloud-sql-proxy gets its signal together"},
	},
	"job.yaml": {
		{TwoAtOnce, false, "podReplacementPolicy: Failed\n      podFailurePolicy:\n        rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]", "completions: 2\n      activeDeadlineSeconds: 9", "the default"},
		{DrainFails, false, "action: Ignore", "action: Count", "backoffLimit is 0"},
		{BelowShell, false, "exec ./report", "./report", "prepare; ./report"},
		{NoGrace, true, "restartPolicy: Never", "restartPolicy: Never\n          terminationGracePeriodSeconds: 0", "the grace is 0 s"},
	},
}

// Each mistake is found, and the manifest without it has none.
func TestExamine_FindsEachMistakeAndNoOther(t *testing.T) {
	found := make(map[rehearse.Code]bool)
	for name, all := range mistakes {
		text := testdata(t, name)
		if twin := read(t, text).Examine(); twin != nil {
			t.Errorf("%s: %+v", name, twin)
		}
		for _, m := range all {
			if strings.Count(text, m.from) != 1 {
				t.Errorf("%s: %q is there %d times", name, m.from, strings.Count(text, m.from))
			}
			findings := read(t, strings.Replace(text, m.from, m.to, 1)).Examine()
			if m.code == TwoAtOnce { // without a policy both are wrong
				findings = slices.DeleteFunc(findings, func(f Finding) bool { return f.Code == DrainFails })
			}
			if len(findings) != 1 || findings[0].Code != m.code || findings[0].Fails != m.fails || !strings.Contains(findings[0].Seen, m.seen) {
				t.Errorf("%s with %s:\n%+v\nwant %s %s", name, m.to, findings, m.code, m.seen)
			}
			found[m.code] = true
		}
	}
	for _, code := range Codes() {
		if !found[code] {
			t.Errorf("no manifest has the mistake %s", code)
		}
	}
}

func testdata(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// What is a mistake in one place is none in another.
func TestExamine_SaysNothingAboutWhatIsMeantSo(t *testing.T) {
	for from, to := range map[string]string{
		"[/server, --shutdown-timeout=30s]": "[sh, -c, exec ./server --port 80]",
		"/server, --shutdown-timeout":       "tini, --, /server, --shutdown-timeout",
		"replicas: 3":                       "replicas: 0",
		`"postgres://db/api"`:               `"sqlite::memory:"`,
		"maxUnavailable: 25%":               "maxUnavailable: 2",
		"maxUnavailable: 1\n":               "minAvailable: 2\n",
		"distroless/base":                   "distroless/base:debug",
		"value: \"20000\"":                  "value: \"34000\"",
		"{name: PORT, value: \"8080\"}":     "{name: LASTCALL_GRACE, value: 35s}",
		"terminationGracePeriodSeconds: 40": "terminationGracePeriodSeconds: 36",
		"strategy: {rollingUpdate: {maxUnavailable: 25%, maxSurge: 1}}": "strategy: {type: Recreate}",
	} {
		text := testdata(t, "service.yaml")
		if strings.Count(text, from) != 1 {
			t.Errorf("%q is there %d times", from, strings.Count(text, from))
		}
		if found := read(t, strings.Replace(text, from, to, 1)).Examine(); found != nil {
			t.Errorf("%s: %+v", to, found)
		}
	}
	for _, command := range []string{"[tini, -g, --, sh, -c, 'sleep 1; ./server']", "[dumb-init, sh, -c, 'sleep 1; ./server']", "[sh, -c, 'trap stop TERM; ./server & wait']", "[bash, -c, 'cd /app && ./server']"} {
		if found := read(t, strings.Replace(testdata(t, "service.yaml"), "[/server, --shutdown-timeout=30s]", command, 1)).Examine(); found != nil {
			t.Errorf("%s: %+v", command, found)
		}
	}
	one := strings.NewReplacer("replicas: 3", "replicas: 1", `"postgres://db/api"`, `"sqlite:/data/api.db"`).Replace(testdata(t, "service.yaml"))
	if found := read(t, strings.Replace(one, "strategy: {rollingUpdate", "# {", 1)).Examine(); len(found) != 1 || found[0].Code != SharedFile || found[0].Fails {
		t.Errorf("a rollout over one file: %+v", found)
	}
}

// The shells of this machine behave as replacesItself says.
func TestExamine_KnowsWhichShellsReplaceThemselves(t *testing.T) {
	for _, shell := range []string{"bash", "dash"} {
		if _, err := exec.LookPath(shell); err != nil {
			t.Skipf("there is no %s: %v", shell, err)
		}
		for _, text := range []string{"%s", "exec %s", "true && %s", "true; exec %s", "%s | cat"} {
			text = fmt.Sprintf(text, "sed -n s/^PPid:.//p /proc/self/status")
			out, err := exec.CommandContext(t.Context(), shell, "-c", text).Output()
			if err != nil {
				t.Fatal(err)
			}
			replaced := strings.TrimSpace(string(out)) == fmt.Sprint(os.Getpid())
			if replacesItself(shell, text) != replaced {
				t.Errorf("%s -c %q: replaced %v", shell, text, replaced)
			}
		}
	}
}

// A finding says where it is.
func TestExamine_NamesTheLine(t *testing.T) {
	text := strings.Replace(testdata(t, "service.yaml"), "sleep: {seconds: 5}", "sleep: {seconds: 50}", 1)
	line := 1 + strings.Count(text[:strings.Index(text, "preStop:")], "\n")
	if found := read(t, text).Examine(); len(found) != 1 || found[0].Place != fmt.Sprintf("m.yaml:%d", line) || found[0].Who != "Deployment api" {
		t.Errorf("%+v, want line %d", found, line)
	}
}

func TestExamine_KnowsImagesWithoutAShell(t *testing.T) {
	for image, want := range map[string]bool{
		"gcr.io/distroless/static-debian12:nonroot": true, "gcr.io/distroless/base:debug": false, "cgr.dev/chainguard/nginx:latest": true,
		"cgr.dev/chainguard/nginx:latest-dev": false, "nginx:1.27": false, "registry:5000/app": false,
	} {
		if bare(image) != want {
			t.Errorf("%s: %v", image, !want)
		}
	}
}

// Each finding has its row in the documentation, with its effect on the exit code.
func TestCodes_HaveTheirRows(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/manifests.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[rehearse.Code]map[bool]bool)
	for _, all := range mistakes {
		for _, m := range all {
			if seen[m.code] == nil {
				seen[m.code] = make(map[bool]bool)
			}
			seen[m.code][m.fails] = true
		}
	}
	for code, is := range seen {
		row := regexp.MustCompile(`(?m)^\| ` + string(code) + ` \| .* \| (.*) \|$`).FindSubmatch(page)
		if row == nil || is[true] != strings.HasPrefix(string(row[1]), "fail") || is[false] && !strings.Contains(string(row[1]), "warning") {
			t.Errorf("%s, which fails %v: its row is %q", code, is, row)
		}
	}
}

// Each code has a text of its own.
func TestCodes_HaveTheirWords(t *testing.T) {
	seen := make(map[string]bool)
	for _, code := range Codes() {
		if !regexp.MustCompile(`^LC2[0-3]\d$`).MatchString(string(code)) || code.Known() {
			t.Errorf("%s is not a code of manifests", code)
		}
		for _, text := range []string{Title(code), Why(code), Change(code)} {
			if text == "" || seen[text] {
				t.Errorf("%s: %q", code, text)
			}
			seen[text] = true
		}
	}
	if Title(rehearse.NoReaction) != rehearse.NoReaction.Title() || Title("LC999") != "" {
		t.Error("the other codes have the words of a rehearsal")
	}
}

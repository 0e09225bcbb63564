package container

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	core "k8s.io/api/core/v1"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/lastcall-go/lastcall/internal/freeport"
	"github.com/lastcall-go/lastcall/internal/pgtest"
)

// secret is the token that the tests' server requires for a submit.
const secret = "a-secret-of-twenty-four-characters"

func TestManifests_ContainersServeAndAreProbedAndStopWithZero(t *testing.T) {
	r := containerd(t)
	for name, pod := range templates(t, "") {
		t.Run(name, func(t *testing.T) {
			m := &manifested{t: t, spec: pod.pod.Spec, config: withKinds(kustomize(t, name, "").configMaps[0].Data)}
			if name == "postgres" {
				m.database = pgtest.New(t, "fsync=off").DSN("postgres")
			}
			c := r.run(t, m.pod())
			c.says("lastcall serves")
			ready := func() int32 { return c.healthcheck(m.probes) }
			until(t, "the server is ready", func() bool { return ready() == 0 })
			if code := c.healthcheck(m.probes, "--live"); code != 0 {
				t.Errorf("healthcheck --live: exit code %d", code)
			}
			m.probe(m.container().StartupProbe)
			m.probe(m.container().ReadinessProbe)
			m.probe(m.container().LivenessProbe)
			m.works()

			ended := make(chan struct{})
			go func() {
				defer close(ended)
				c.terminate(*m.spec.TerminationGracePeriodSeconds)
			}()
			until(t, "it is no longer ready", func() bool { return ready() == 1 })
			<-ended
			c.exits(0, "Completed")
		})
	}
}

// withKinds adds a kind to a configuration, since the manifests have none. Its handler is the
// image's only program.
func withKinds(shipped map[string]string) map[string]string {
	config := maps.Clone(shipped)
	config["lastcall.yaml"] += "kinds: {version: {exec: [/lastcall, version]}}\n"
	return config
}

// healthcheck checks a server like an exec probe does, and returns the exit code.
func (c *container) healthcheck(address string, flags ...string) int32 {
	c.t.Helper()
	got, err := c.r.client.ExecSync(c.t.Context(), &cri.ExecSyncRequest{
		ContainerId: c.id, Cmd: append([]string{"/lastcall", "healthcheck", "--server", "http://" + address}, flags...),
		Timeout: 10,
	})
	if err != nil {
		c.t.Fatalf("healthcheck: %v\n%s", err, c.text())
	}
	return got.ExitCode
}

// manifested is a container as in a manifest, with two differences. It has addresses of its own,
// since it shares the machine's network here. With PostgreSQL it has the user that can reach the
// test's socket.
type manifested struct {
	t           *testing.T
	spec        core.PodSpec
	config      map[string]string // the ConfigMap
	database    string            // "" if there is none
	api, probes string
}

func (m *manifested) container() *core.Container { return &m.spec.Containers[0] }

func (m *manifested) pod() pod {
	m.t.Helper()
	c := m.container()
	p := pod{
		user: *m.spec.SecurityContext.RunAsUser, memory: c.Resources.Limits.Memory().Value(),
		env: map[string]string{"KUBERNETES_SERVICE_HOST": "127.0.0.1"}, mounts: map[string]string{},
	}
	for _, e := range c.Env {
		p.env[e.Name] = e.Value
	}
	secrets := map[string]string{"tokens": "test submit " + secret + "\n"}
	if m.database != "" {
		_, dir, _ := strings.Cut(m.database, "host=")
		info, err := os.Stat(dir)
		if err != nil {
			m.t.Fatal(err)
		}
		p.user, p.mounts[dir], secrets["store"] = owner(info), dir, m.database+"\n"
	}
	contents := map[string]map[string]string{}
	for _, v := range m.spec.Volumes {
		switch {
		case v.ConfigMap != nil:
			contents[v.Name] = m.config
		case v.Secret != nil:
			contents[v.Name] = secrets
		}
	}
	for _, mount := range c.VolumeMounts {
		if mount.MountPath != "/tmp" { // every pod here has it
			p.mounts[mount.MountPath] = m.volume(int(p.user), contents[mount.Name])
		}
	}
	p.args = m.args()
	return p
}

// volume creates a directory with files that root owns and a group can read, as with fsGroup and a
// Secret's mode.
func (m *manifested) volume(group int, files map[string]string) string {
	m.t.Helper()
	dir := m.t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		if err := firstOf(os.WriteFile(file, []byte(content), 0o440), os.Chown(file, 0, group), os.Chmod(file, 0o440)); err != nil {
			m.t.Fatal(err)
		}
	}
	// They belong to the group, as with fsGroup.
	if err := firstOf(os.Chown(dir, 0, group), os.Chmod(dir, 0o770)); err != nil {
		m.t.Fatal(err)
	}
	return dir
}

// args returns the manifest's arguments, with addresses of this machine for its ports.
func (m *manifested) args() (args []string) {
	m.t.Helper()
	free := map[string]*string{"api": &m.api, "probes": &m.probes}
	replaced := 0
	for _, arg := range m.container().Args {
		for _, p := range m.container().Ports {
			if flag, ok := strings.CutSuffix(arg, fmt.Sprintf("=0.0.0.0:%d", p.ContainerPort)); ok {
				*free[p.Name] = freeport.Address(m.t)
				arg = flag + "=" + *free[p.Name]
				replaced++
			}
		}
		args = append(args, arg)
	}
	if replaced != len(free) {
		m.t.Fatalf("%d of %d ports are in %q", replaced, len(free), m.container().Args)
	}
	return args
}

// probe makes the request of a probe of the manifest.
func (m *manifested) probe(p *core.Probe) {
	m.t.Helper()
	if code, said := m.ask(http.MethodGet, m.probes, p.HTTPGet.Path, "", ""); code != http.StatusOK {
		m.t.Errorf("%s: %d %s", p.HTTPGet.Path, code, said)
	}
}

// works checks that a task is refused without a token, and succeeds with it.
func (m *manifested) works() {
	m.t.Helper()
	const body = `{"kind": "version", "payload": null}`
	if code, said := m.ask(http.MethodPost, m.api, "/v1/tasks", "", body); code != http.StatusUnauthorized {
		m.t.Errorf("a submit without a token: %d %s", code, said)
	}
	code, said := m.ask(http.MethodPost, m.api, "/v1/tasks", secret, body)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(said), &made); err != nil || code != http.StatusCreated {
		m.t.Fatalf("a submit: %d %s, %v", code, said, err)
	}
	until(m.t, "the task has succeeded", func() bool {
		code, said := m.ask(http.MethodGet, m.probes, "/metrics", "", "")
		return code == http.StatusOK && strings.Contains(said,
			`lastcall_tasks{kind="version",queue="default",status="succeeded"} 1`)
	})
}

func (m *manifested) ask(method, address, path, token, body string) (code int, said string) {
	m.t.Helper()
	req, err := http.NewRequestWithContext(m.t.Context(), method, "http://"+address+path, strings.NewReader(body))
	if err != nil {
		m.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		m.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err := firstOf(err, resp.Body.Close()); err != nil {
		m.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

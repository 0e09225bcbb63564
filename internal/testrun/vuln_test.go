package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestGovulncheck_AKnownVulnerabilityThatIsCalledFails(t *testing.T) {
	if _, err := exec.LookPath("govulncheck"); err != nil {
		t.Skip("govulncheck is not installed: run make setup, and this test through make test")
	}
	t.Parallel()
	database := write(t, map[string]string{ // only the reports, without an index, as in the module
		"GO-2026-0001.json": `{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z",
			"published":"2026-01-01T00:00:00Z","summary":"Made for this test","details":"Made for this test.",
			"database_specific":{"url":"https://pkg.go.dev/vuln/GO-2026-0001"},
			"affected":[{"package":{"ecosystem":"Go","name":"stdlib"},
			"ranges":[{"type":"SEMVER","events":[{"introduced":"0"}]}],
			"ecosystem_specific":{"imports":[{"path":"strings","symbols":["Repeat"]}]}}]}`,
	})
	for _, c := range []struct{ body, want string }{
		{`strings.Repeat("x", 2)`, "GO-2026-0001"},
		{`strings.ToUpper("x")`, ""},
	} {
		dir := write(t, map[string]string{
			"go.mod":  goMod,
			"main.go": "package main\n\nimport \"strings\"\n\nfunc main() { println(" + c.body + ") }\n",
		})
		r := govulncheck([]module{{".", dir}}, "file://"+filepath.ToSlash(database))(t.Context())
		if r.leftOut != "" || (c.want == "") != (r.failure == "") || !strings.Contains(r.failure, c.want) {
			t.Errorf("%s: left out %q, failure %q; want %q", c.body, r.leftOut, r.failure, c.want)
		}
	}
}

func TestGovulncheck_TheReportsAreThoseOfAModule(t *testing.T) {
	t.Parallel()
	dir, err := downloadReports(t.Context())
	if err != nil {
		t.Skip("no module proxy can be reached: ", err)
	}
	// Go 1.26.8 has these two in net/textproto and crypto/x509.
	for _, id := range []string{"GO-2026-6608", "GO-2026-6809"} {
		text, err := os.ReadFile(filepath.Join(dir, id+".json"))
		if err != nil || !strings.Contains(string(text), `"id": "`+id+`"`) {
			t.Errorf("%s: %v\n%.200s", id, err, text)
		}
	}
}

func TestGovulncheck_OnlyReportsThatCannotBeDownloadedLeaveItOut(t *testing.T) {
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOMODCACHE", t.TempDir())
	r := govulncheck([]module{{".", t.TempDir()}}, "")(t.Context())
	if r.failure != "" || !strings.Contains(r.leftOut, "set GOVULNDB") {
		t.Errorf("no proxy: %+v", r)
	}
	if _, err := exec.LookPath("govulncheck"); err != nil {
		t.Skip("govulncheck is not installed: run make setup, and this test through make test")
	}
	dir := write(t, map[string]string{"go.mod": goMod, "main.go": "package main\n\nfunc main() {}\n"})
	if r := govulncheck([]module{{".", dir}}, "file:///no/such/database")(t.Context()); r.failure == "" {
		t.Errorf("a database that is not there: %+v, want a failure", r)
	}
}

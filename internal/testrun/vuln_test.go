package main

import (
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
	database := write(t, map[string]string{
		"index/db.json":      `{"modified":"2026-01-01T00:00:00Z"}`,
		"index/modules.json": `[{"path":"stdlib","vulns":[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z"}]}]`,
		"index/vulns.json":   `[{"id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z","aliases":[]}]`,
		"ID/GO-2026-0001.json": `{"schema_version":"1.3.1","id":"GO-2026-0001","modified":"2026-01-01T00:00:00Z",
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

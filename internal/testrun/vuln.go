package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// govulncheck returns a check for known vulnerabilities in the functions that the modules
// call. It uses the database that GOVULNDB names, or else vulnModule. It is left out
// only if that module cannot be downloaded or the tool is not installed; any later error is
// a failure.
func govulncheck(modules []module, database string) func(context.Context) result {
	return func(ctx context.Context) result {
		database := database
		if database == "" {
			reports, err := downloadReports(ctx)
			if err != nil {
				return leftOut(fmt.Sprintf("the reports cannot be downloaded: %v (set GOVULNDB to a database that can be reached)",
					err))
			}
			database = "file://" + filepath.ToSlash(reports)
		}
		var all result
		for _, m := range modules {
			// A scan of the imported packages costs a tenth of a scan of the called functions. If no
			// imported package is vulnerable, no called function is either.
			r := command(m.dir, nil, "govulncheck", "-db", database, "-scan", "package", "-test", "./...")(ctx)
			all.processor += r.processor
			if r.failure != "" {
				r = command(m.dir, nil, "govulncheck", "-db", database, "-test", "./...")(ctx)
				all.processor += r.processor
			}
			if r.leftOut != "" {
				return r
			}
			all.failure += r.failure
		}
		return all
	}
}

// vulnModule is a Go module with the reports of Go's vulnerability database. It is downloaded
// and verified like the dependencies, so a runner needs no access to
// https://vuln.go.dev.
const vulnModule = "golang.org/x/vulndb"

// downloadReports returns the directory of the newest reports. govulncheck accepts it as a database
// and creates the index itself.
func downloadReports(ctx context.Context) (string, error) {
	// In a directory outside all modules, so that no go.mod of ours gets a requirement.
	out, err := prepare(ctx, os.TempDir(), []string{"GOFLAGS="}, "go", "mod", "download", "-json",
		vulnModule+"@latest").Output()
	var got struct{ Dir, Error string }
	if jsonErr := json.Unmarshal(out, &got); jsonErr == nil && got.Error != "" {
		return "", errors.New(got.Error)
	}
	if err != nil {
		return "", fmt.Errorf("go mod download %s: %w", vulnModule, describeExit(err))
	}
	return filepath.Join(got.Dir, "data", "osv"), nil
}

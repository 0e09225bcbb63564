package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// govulncheck looks for known vulnerabilities in what the modules call, in the
// database that GOVULNDB names, or else in vulnModule. It is left out when that
// module cannot be downloaded or the tool is not installed, and only then: what
// goes wrong after that is a failure.
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
			// Whether anything of what is imported is vulnerable is known at a tenth of the price of
			// what is called. What is not imported is not called either.
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

// vulnModule has the reports of Go's vulnerability database, which comes from where the
// dependencies come from, and is verified as they are: a runner needs no way to
// https://vuln.go.dev.
const vulnModule = "golang.org/x/vulndb"

// downloadReports returns the directory of the newest reports. govulncheck takes it as a database,
// and makes the index itself.
func downloadReports(ctx context.Context) (string, error) {
	// In a directory of no module: none of ours gets a requirement by it.
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

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	pageFile    = "docs/performance.md"
	pictures    = "docs/performance" // the figures stand beside them, so that a test can write the page again
	figuresFile = pictures + "/figures.json"
)

// The README's figures stand between these.
const (
	readmeBegin = "<!-- Written by make bench UPDATE_DOCS=1. -->\n"
	readmeEnd   = "<!-- End of what make bench has written. -->\n"
)

var errNoPlace = errors.New("README.md has no place for the figures")

// writeDocs writes the page, its pictures and the README's figures below the repository's folder.
func (r *report) writeDocs(repository string) error {
	files, err := r.docs(repository)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(repository, pictures), 0o755); err != nil {
		return fmt.Errorf("make the folder of the pictures: %w", err)
	}
	for name, text := range files {
		if err := writeFile(filepath.Join(repository, name), []byte(text)); err != nil {
			return err
		}
	}
	return nil
}

// docs are the files that a run changes, by their names.
func (r *report) docs(repository string) (map[string]string, error) {
	readme, err := os.ReadFile(filepath.Join(repository, "README.md"))
	if err != nil {
		return nil, fmt.Errorf("read the README: %w", err)
	}
	before, rest, found := strings.Cut(string(readme), readmeBegin)
	_, after, ended := strings.Cut(rest, readmeEnd)
	if !found || !ended {
		return nil, errNoPlace
	}
	figures, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, fmt.Errorf("encode the figures: %w", err)
	}
	files := map[string]string{
		"README.md": before + readmeBegin + r.summary() + readmeEnd + after,
		pageFile:    r.page(),
		figuresFile: string(figures) + "\n",
	}
	for name, picture := range r.pictures() {
		files[pictures+"/"+name] = picture
	}
	return files, nil
}

// summary is three figures and a picture.
func (r *report) summary() string {
	var busiest comparison
	for _, c := range r.Cluster {
		if !c.Level.Distinct && c.Job.PerSecond > busiest.Job.PerSecond {
			busiest = c
		}
	}
	decision, _ := r.figure("Authorize_KnownJob", "ns/op")
	return fmt.Sprintf(`The API server answers **%s requests a second** of a CI job, and **%s** of a ServiceAccount. jobgate judges a request in **%s**, and needs
%s of memory at rest. [docs/performance.md](docs/performance.md) has the rest, and the command that measured it.

![Requests a second through kube-apiserver, as a CI job and with a ServiceAccount's token](docs/performance/requests.svg)
`, thousands(busiest.Job.PerSecond), thousands(busiest.ServiceAccount.PerSecond), nanoseconds(decision), size(float64(r.MemoryAtRest)))
}

func (r *report) pictures() map[string]string {
	requests := bars{
		title: "Requests a second through kube-apiserver", measured: "as a CI job", beside: "with a ServiceAccount's token",
	}
	for _, c := range r.Cluster {
		requests.pairs = append(requests.pairs, pair{c.Level.String(), c.Job.PerSecond, c.ServiceAccount.PerSecond})
	}
	reviews := bars{title: "Reviews a second, one connection, 64 in flight", measured: "jobgate", beside: "constant handler"}
	for _, each := range []struct{ benchmark, name string }{
		{"Throughput/SubjectAccessReview", "SubjectAccessReview"}, {"Throughput/TokenReview", "TokenReview, job token"},
		{"Throughput/IDToken", "TokenReview, ID token"}, {"FirstLogins/IDToken", "first login, ID token"},
		{"FirstLogins/JobToken", "first login, job token"},
	} {
		perSecond, _ := r.figure(each.benchmark, "req/s")
		constant, _ := r.figure(each.benchmark, "constant-req/s")
		reviews.pairs = append(reviews.pairs, pair{each.name, perSecond, constant})
	}
	return map[string]string{
		"requests.svg": requests.svg(),
		"reviews.svg":  reviews.svg(),
		"known-jobs.svg": curve{
			title: "Finding a job by its id", x: "known jobs", show: nanoseconds, points: r.points("LookupID_KnownJobs/", ""),
		}.svg(),
		"agents.svg": curve{
			title: "Reading GitLab's reply", x: "agents in the reply, of 200 bytes each", show: nanoseconds,
			points: r.points("AllowedAgents/", "_agents_of_200_bytes"),
		}.svg(),
		"restrictions.svg": curve{
			title: "Judging a request", x: "restrictions", show: nanoseconds, points: r.points("Authorize_Restrictions/", ""),
		}.svg(),
	}
}

// points are the times of benchmarks whose names differ in a number.
func (r *report) points(prefix, suffix string) (all []point) {
	for _, b := range r.Benchmarks {
		number, found := strings.CutPrefix(b.Name, prefix)
		number, ends := strings.CutSuffix(number, suffix)
		if x, err := strconv.Atoi(number); found && ends && err == nil {
			all = append(all, point{x, b.Figures["ns/op"]})
		}
	}
	return all
}

func (r *report) page() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Performance

This command measures everything on this page, and writes the page:

`+"```sh make\nmake bench UPDATE_DOCS=1\n```"+`

| measured on | |
| --- | --- |
| commit | %s |
| when | %s, in %s |
| processor | %s, %d in use by everything together: clients, servers, etcd and the fake GitLab |
| memory | %s |
| system | %s, %s |
| load before | %s |

Another machine has other figures, so compare the ratios within one run.

`, r.Commit, r.Time.Format("2006-01-02 15:04 UTC"), r.Took, r.Machine.Processor, r.Machine.Processors, r.Machine.Memory,
		r.Machine.System, r.Machine.Go, r.Machine.Load)
	b.WriteString("| measured | figure | beside | goal |\n| --- | --- | --- | --- |\n")
	for _, w := range r.rows() {
		goal := w.Goal
		if goal != "" && !w.Reached {
			goal += ", **missed**"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", w.Name, w.Figure, w.Beside, strings.NewReplacer("<=", "at most", ">=", "at least").Replace(goal))
	}
	r.clusterSection(&b)
	r.reviewSection(&b)
	return b.String()
}

func (r *report) clusterSection(b *strings.Builder) {
	b.WriteString(`
## Requests through the API server

A real kube-apiserver with jobgate as its login and authorization webhook, as [install.md](install.md) sets it up. Both users read the same
Service over one HTTP/2 connection, in turns. Each figure is the median of the turns, and each ratio above is the median of the turns' ratios,
so it is not exactly one figure divided by the other. The API server remembers a login for 20 s and a judgement for 1 s, so it asks jobgate
about once a second for the same request. In the last pair each request is for another object, and the API server asks jobgate about each: a
job that sends many different requests at once gets that rate.

![Requests a second through kube-apiserver, as a CI job and with a ServiceAccount's token](performance/requests.svg)

| user | requests | a second | p50 | p99 | kube-apiserver, for 1,000 requests | jobgate | etcd |
| --- | --- | --- | --- | --- | --- | --- | --- |
`)
	for _, c := range r.Cluster {
		for _, l := range []struct {
			name string
			load load
		}{{"CI job", c.Job}, {"ServiceAccount", c.ServiceAccount}} {
			fmt.Fprintf(b, "| %s | %s | %s | %.1f ms | %.1f ms | %.0f ms | %.0f ms | %.0f ms |\n", l.name, c.Level, thousands(l.load.PerSecond),
				l.load.P50, l.load.P99, l.load.Processor["kube-apiserver"], l.load.Processor["jobgate"], l.load.Processor["etcd"])
		}
	}
	b.WriteString(`
The last three columns are processor time.

| user | open watches | opened in | a change reached the last one after |
| --- | --- | --- | --- |
`)
	for _, w := range r.Watches {
		fmt.Fprintf(b, "| %s | %d | %.0f ms | %.0f ms |\n", w.User, w.Held, w.OpenAll, w.LastTold)
	}
}

func (r *report) reviewSection(b *strings.Builder) {
	b.WriteString(`
## Reviews

h2load asks jobgate's handler over TLS and one HTTP/2 connection, with 64 requests in flight. Beside it, on the same server, is a constant
handler: it reads the body and returns the same bytes every time. A first login asks GitLab, whose fake runs on the same processors.

![Reviews a second, jobgate and the constant handler](performance/reviews.svg)

## What makes it slower

Many known jobs do not fit into the processor's caches. 65,536 is the default of ` + "`cache.maxJobs`" + `:

![Time to find a job by its id, from 1 to 65,536 known jobs](performance/known-jobs.svg)

A login or a refresh reads GitLab's reply, which lists all agents that the job may use. jobgate keeps the configured ones:

![Time to read a reply with 1 to 10,000 agents](performance/agents.svg)

jobgate judges each restriction for each request:

![Time to judge a request with 0 to 200 restrictions](performance/restrictions.svg)

Every figure of every benchmark is in [figures.json](performance/figures.json).
`)
}

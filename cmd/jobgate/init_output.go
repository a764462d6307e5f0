package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jobgate/jobgate/certs"
	"github.com/jobgate/jobgate/internal/install"
	"github.com/jobgate/jobgate/internal/install/conffile"
)

// initReport is what init prints with --output=json.
type initReport struct {
	Directory    string              `json:"directory"`
	DryRun       bool                `json:"dryRun"`
	Files        []fileReport        `json:"files"`
	Certificates []certificateReport `json:"certificates"`
	Flags        []string            `json:"flags"` // of kube-apiserver
	Notes        []string            `json:"notes"`
	Steps        []stepReport        `json:"steps"`
}

type fileReport struct {
	Path    string           `json:"path"` // in the directory
	Outcome conffile.Outcome `json:"outcome"`
	Reason  string           `json:"reason,omitempty"`
	Backup  string           `json:"backup,omitempty"` // a copy of what was there
	Diff    string           `json:"diff,omitempty"`   // of a dry run, or a conflict
}

type certificateReport struct {
	Path   string `json:"path"`
	Reason string `json:"reason"`
}

type stepReport struct {
	Number   int      `json:"number"`
	Text     string   `json:"text"`
	Commands []string `json:"commands"`
}

// printReport prints all that init has done, or would do, for programs.
func printReport(out io.Writer, setup *install.Setup, work *install.Work, dryRun bool) error {
	dir := setup.Options.Dir
	report := initReport{
		Directory: dir, DryRun: dryRun, Files: []fileReport{}, Certificates: []certificateReport{}, Flags: []string{},
		Notes: append([]string{}, setup.Notes...), Steps: []stepReport{},
	}
	for _, c := range work.Directory.Changes {
		f := fileReport{Path: c.Path, Outcome: c.Outcome, Reason: c.Why, Backup: c.Backup}
		if c.Outcome == conffile.Clash || dryRun && c.Outcome.Writes() {
			f.Diff = c.Diff(dir)
		}
		report.Files = append(report.Files, f)
	}
	for _, c := range issued(work) {
		report.Certificates = append(report.Certificates, certificateReport{pkiPath(c), c.Why})
	}
	for _, f := range work.Flags {
		report.Flags = append(report.Flags, f.String())
	}
	for i, step := range work.Steps {
		report.Steps = append(report.Steps, stepReport{work.FirstStep + i, step.Text, append([]string{}, step.Commands...)})
	}
	if note := setup.OtherNodes(); note != "" {
		report.Notes = append(report.Notes, note)
	}
	return writeJSON(out, report)
}

// showPlan shows what would change.
func showPlan(out io.Writer, dir string, work *install.Work) error {
	for _, c := range work.Directory.Changes {
		switch {
		case c.Outcome.Writes():
			fmt.Fprint(out, c.Diff(dir))
		case c.Outcome == conffile.Keep:
			fmt.Fprintf(out, "would keep %s: %s\n", c.Path, c.Why)
		}
	}
	for _, c := range issued(work) {
		fmt.Fprintf(out, "would issue %s: %s\n", pkiPath(c), c.Why)
	}
	_, err := fmt.Fprintln(out, "Nothing was written: this was a dry run.")
	return err
}

// showResult says what became of each file, and shows what has changed in those that were there.
func showResult(out io.Writer, dir string, work *install.Work) {
	fmt.Fprintln(out, dir+":")
	for _, c := range work.Directory.Changes {
		detail := ""
		switch c.Outcome {
		case conffile.Keep:
			detail = "  (" + c.Why + ")"
		case conffile.Replace:
			detail = "  (what was there is now " + c.Backup + ")"
		case conffile.Extra:
			detail = "  (from an earlier init; remove it when nothing uses it)"
		}
		fmt.Fprintf(out, "  %-10s %s%s\n", c.Outcome, c.Path, detail)
	}
	for _, c := range issued(work) {
		fmt.Fprintf(out, "  %-10s %s  (%s)\n", "issued", pkiPath(c), c.Why)
	}
	if !work.Directory.Writes() && len(work.Certificates) == 0 {
		fmt.Fprintln(out, "Nothing changed.")
	}
	for _, c := range work.Directory.Changes {
		if c.Outcome == conffile.Update || c.Outcome == conffile.Replace {
			fmt.Fprint(out, "\n"+c.Diff(dir))
		}
	}
}

// issued are the changes of the PKI, without those of its folder.
func issued(work *install.Work) []certs.Change {
	return slices.DeleteFunc(slices.Clone(work.Certificates), func(c certs.Change) bool { return c.File == "." })
}

func pkiPath(c certs.Change) string { return filepath.Join(install.PKIDir, c.File) }

func showNotes(out io.Writer, notes []string) {
	for _, note := range notes {
		fmt.Fprintf(out, "\n%s\n", wrap(note, ""))
	}
}

// showFlags prints one flag a line.
func showFlags(out io.Writer, work *install.Work) {
	fmt.Fprintln(out, "\nkube-apiserver's flags (--authorization-config replaces --authorization-mode):")
	for _, f := range work.Flags {
		fmt.Fprintf(out, "    %s\n", f)
	}
}

func showSteps(out io.Writer, setup *install.Setup, work *install.Work) error {
	fmt.Fprintln(out, "\nNext steps:")
	for i, step := range work.Steps {
		fmt.Fprintf(out, "\n%d. %s\n", work.FirstStep+i, wrap(step.Text, "   "))
		for _, command := range step.Commands {
			fmt.Fprintf(out, "       %s\n", command)
		}
	}
	if note := setup.OtherNodes(); note != "" {
		fmt.Fprintf(out, "\n%s\n", wrap(note, ""))
	}
	return nil
}

// lineWidth is how long a line of text may be, without its indentation. A path that is longer stays whole.
const lineWidth = 100

// wrap breaks text into lines, of which all but the first are indented.
func wrap(text, indent string) string {
	var wrapped strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > lineWidth:
			wrapped.WriteString("\n" + indent)
			column = 0
		default:
			wrapped.WriteString(" ")
			column++
		}
		wrapped.WriteString(word)
		column += len(word)
	}
	return wrapped.String()
}

package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/jobgate/jobgate/certs"
)

func newCertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Issue, renew, rotate and inspect the certificates between kube-apiserver and jobgate",
		Long: "Issue, renew, rotate and inspect the certificates between kube-apiserver and jobgate.\n\n" +
			"A PKI is a folder with a private CA (ca.crt, ca.pem), jobgate's serving certificate (serving.pem) and the API server's\n" +
			"client certificate (client.pem). jobgate serve --pki renews them. Use these commands to make a PKI, in emergencies, and to\n" +
			"look at certificates of any issuer.",
	}
	cmd.AddCommand(newCertsIssueCommand(), newCertsRenewCommand(), newCertsRotateCommand(), newCertsShowCommand())
	return cmd
}

// pkiFlag is --pki, which is required.
type pkiFlag struct{ dir string }

func (p *pkiFlag) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&p.dir, "pki", "", "the folder of the PKI (required)")
}

// open refuses an empty name, too, which an unset variable in a script leaves.
func (p *pkiFlag) open() (*certs.PKI, error) {
	if p.dir == "" {
		return nil, badUsage("--pki is missing: name the folder of the PKI")
	}
	return certs.OpenPKI(p.dir), nil
}

// certsChange is a file that was written, or would be.
type certsChange struct {
	File   string `json:"file"`
	Reason string `json:"reason"`
}

func certsChanges(dir string, changes []certs.Change) []certsChange {
	all := []certsChange{} // never null in JSON
	for _, c := range changes {
		all = append(all, certsChange{File: filepath.Join(dir, c.File), Reason: c.Why})
	}
	return all
}

func writeChanges(w io.Writer, what string, changes []certsChange) error {
	for _, c := range changes {
		if _, err := fmt.Fprintf(w, "%s %s: %s\n", what, c.File, c.Reason); err != nil {
			return err
		}
	}
	return nil
}

func newCertsIssueCommand() *cobra.Command {
	var dir pkiFlag
	dryRun, r, output := false, certs.Request{}, outputFlag{formats: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "issue --pki DIR [--host HOST]...",
		Short: "Make what is missing in a PKI, and issue again what does not fit",
		Long: "Make what is missing in a PKI, and issue again what does not fit: certificates for other names, of another issuer, or near\n" +
			"their end. What fits stays as it is, so a second run changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pki, err := dir.open()
			if err != nil {
				return err
			}
			issue, what := pki.Issue, "changed"
			if dryRun {
				issue, what = pki.Plan, "would change"
			}
			made, err := issue(r)
			if errors.Is(err, certs.ErrRequest) {
				return badUsage("%w", err)
			}
			// What was written before an error is there to stay.
			return errors.Join(writeIssued(cmd.OutOrStdout(), &output, what, dryRun, certsChanges(dir.dir, made)), err)
		},
	}
	dir.add(cmd)
	output.add(cmd)
	f := cmd.Flags()
	f.StringArrayVar(&r.Hosts, "host", nil, "a DNS name or IP address of jobgate, besides 127.0.0.1, ::1 and localhost; repeatable")
	f.StringVar(&r.ClientName, "client-name", certs.DefaultClientName, "the API server's name in its client certificate")
	f.DurationVar(&r.Lifetime, "lifetime", 0, fmt.Sprintf("lifetime of the certificates (default %s for new ones)", certs.DefaultLifetime))
	f.DurationVar(&r.CALifetime, "ca-lifetime", certs.DefaultCALifetime, "lifetime of a new CA")
	f.BoolVar(&dryRun, "dry-run", false, "say what would be written, and write nothing")
	return cmd
}

func writeIssued(w io.Writer, output *outputFlag, what string, dryRun bool, changes []certsChange) error {
	if !output.is("json") {
		return writeChanges(w, what, changes)
	}
	return writeJSON(w, struct {
		DryRun  bool          `json:"dryRun"`
		Changes []certsChange `json:"changes"`
	}{dryRun, changes})
}

// certsRenewal is what happened to a certificate.
type certsRenewal struct {
	File    string     `json:"file"`
	Renewed bool       `json:"renewed"`
	Reason  string     `json:"reason"`
	Names   []string   `json:"names,omitempty"`
	Expires *time.Time `json:"expires,omitempty"`
}

func newCertsRenewCommand() *cobra.Command {
	var dir pkiFlag
	force, output := false, outputFlag{formats: []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "renew --pki DIR",
		Short: "Renew the certificates of a PKI that have a third of their life left, or less",
		Long: "Renew the certificates of a PKI that have a third of their life left, or less. Names and lifetimes stay, the keys are new.\n" +
			"Certificates of another issuer stay as they are. jobgate and API servers notice the new files; nothing is restarted.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pki, err := dir.open()
			if err != nil {
				return err
			}
			renewals, err := pki.Renew(force)
			// An error about one certificate does not keep the other from being renewed.
			return errors.Join(writeRenewals(cmd.OutOrStdout(), &output, dir.dir, renewals), err)
		},
	}
	dir.add(cmd)
	output.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "also renew what is not due yet")
	return cmd
}

func writeRenewals(w io.Writer, output *outputFlag, dir string, renewals []certs.Renewal) error {
	all := []certsRenewal{}
	for _, r := range renewals {
		one := certsRenewal{File: filepath.Join(dir, r.File), Renewed: r.Renewed, Reason: r.Why, Names: r.Names}
		if !r.Expires.IsZero() {
			one.Expires = &r.Expires
		}
		all = append(all, one)
	}
	if output.is("json") {
		return writeJSON(w, struct {
			Certificates []certsRenewal `json:"certificates"`
		}{all})
	}
	for _, r := range all {
		text := "left as it is: " + r.Reason
		if r.Renewed {
			text = "renewed until " + r.Expires.UTC().Format(time.RFC3339) + ": " + r.Reason
		}
		if _, err := fmt.Fprintf(w, "%s %s\n", r.File, text); err != nil {
			return err
		}
	}
	return nil
}

// shown is what certs show prints.
type shown struct {
	Certificates []certs.Inspection `json:"certificates"`
	Rotation     *shownRotation     `json:"rotation,omitempty"`
}

func newCertsShowCommand() *cobra.Command {
	dir, ca, warn, output := "", "", time.Duration(0), outputFlag{formats: []string{"table", "json"}}
	cmd := &cobra.Command{
		Use:   "show [--pki DIR | FILE...]",
		Short: "Show certificates of a PKI, or in any files, and what is wrong with them",
		Long: "Show certificates of a PKI, or in any files, and what is wrong with them.\n\n" +
			"Certificates of other issuers are verified against the CAs in --ca, or against those among the files; keys against the\n" +
			"certificates. The exit status is 0 when all is well, 1 when something is not (a certificate has expired, expires soon,\n" +
			"does not verify or cannot be read, or the mode of a file lets others read a key), 2 for bad usage.",
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case dir != "" && len(files) > 0:
				return badUsage("certs show takes --pki or files, and not both")
			case len(files) == 0 && ca != "":
				return badUsage("--ca is for files; a PKI has its own CA")
			case warn < 0:
				return badUsage("--warn is %s; it cannot be negative", warn)
			}
			if dir == "" && len(files) == 0 {
				dir = installedPKI
			}
			return show(cmd.OutOrStdout(), dir, files, ca, warn, output.is("json"))
		},
	}
	output.add(cmd)
	f := cmd.Flags()
	f.StringVar(&dir, "pki", "", "the folder of a PKI (without files: default "+installedPKI+")")
	f.StringVar(&ca, "ca", "", "the CAs that the files' certificates are verified against")
	f.DurationVar(&warn, "warn", 0, "an end nearer than this is a problem (default 720h, or a quarter of the certificate's lifetime if that is less)")
	return cmd
}

func show(w io.Writer, dir string, files []string, ca string, warn time.Duration, asJSON bool) error {
	var s shown
	if dir == "" {
		s.Certificates = certs.InspectFiles(files, ca, warn)
	} else {
		pki := certs.OpenPKI(dir)
		s.Certificates = pki.Inspect(warn)
		// An error here is among the certificates' problems already.
		if r, err := pki.Rotation(); err == nil {
			s.Rotation = showRotation(r)
		}
	}
	if err := s.write(w, asJSON); err != nil {
		return err
	}
	for _, c := range s.Certificates {
		if len(c.Problems) > 0 {
			return &statusError{code: statusFailed}
		}
	}
	return nil
}

func (s *shown) write(w io.Writer, asJSON bool) error {
	if asJSON {
		return writeJSON(w, s)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FILE\tSUBJECT\tNAMES\tISSUER\tEXPIRES\tREMAINING\tPROBLEMS")
	for _, c := range s.Certificates {
		expires, remaining := "", ""
		if c.Expires != nil {
			expires, remaining = c.Expires.UTC().Format(time.RFC3339), duration.HumanDuration(time.Until(*c.Expires))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", c.File, c.Subject, strings.Join(c.Names, ","), c.Issuer,
			expires, remaining, strings.Join(c.Problems, "; "))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if s.Rotation == nil {
		return nil
	}
	_, err := fmt.Fprintln(w, s.Rotation.Message)
	return err
}

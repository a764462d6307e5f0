package main

import (
	"encoding/json"
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

// statusTrouble is the exit status of certs show when something is wrong with a certificate.
const statusTrouble = 1

func newCertsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Issue, renew, rotate and inspect the certificates between kube-apiserver and jobgate",
		Long: "Issue, renew, rotate and inspect the certificates between kube-apiserver and jobgate.\n\n" +
			"A PKI is a directory with a private CA (ca.crt, ca.pem), jobgate's serving certificate (serving.pem) and the API server's\n" +
			"client certificate (client.pem). jobgate serve --pki renews what is in it by itself; these commands are for the\n" +
			"beginning, for emergencies, and for a look at certificates of any issuer.",
	}
	cmd.AddCommand(newCertsIssueCommand(), newCertsRenewCommand(), newCertsRotateCommand(), newCertsShowCommand())
	return cmd
}

// addPKIFlag adds --pki, which is required.
func addPKIFlag(cmd *cobra.Command, dir *string) {
	cmd.Flags().StringVar(dir, "pki", "", "the directory of the PKI (required)")
	if err := cmd.MarkFlagRequired("pki"); err != nil {
		panic(err) // a misspelt flag name above
	}
}

func newCertsIssueCommand() *cobra.Command {
	dir, dryRun, r := "", false, certs.Request{}
	cmd := &cobra.Command{
		Use:   "issue --pki DIR [--host HOST]...",
		Short: "Make what is missing in a PKI, and reissue what does not fit",
		Long: "Make what is missing in a PKI, and reissue what does not fit: what is for other names, or of another issuer, or near its\n" +
			"end. What fits stays as it is, so a second run changes nothing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			pki := certs.OpenPKI(dir)
			issue, what := pki.Issue, "changed"
			if dryRun {
				issue, what = pki.Plan, "would change"
			}
			changes, err := issue(r)
			if err := writeChanges(cmd.OutOrStdout(), what, dir, changes); err != nil {
				return err
			}
			if errors.Is(err, certs.ErrRequest) {
				return &statusError{code: statusUsage, err: err}
			}
			return err
		},
	}
	addPKIFlag(cmd, &dir)
	f := cmd.Flags()
	f.StringArrayVar(&r.Hosts, "host", nil, "a DNS name or IP address of jobgate, besides 127.0.0.1, ::1 and localhost; repeatable")
	f.StringVar(&r.ClientName, "client-name", certs.DefaultClientName, "the API server's name in its client certificate")
	f.DurationVar(&r.Lifetime, "lifetime", 0, fmt.Sprintf("of the certificates (default %s for new ones)", certs.DefaultLifetime))
	f.DurationVar(&r.CALifetime, "ca-lifetime", certs.DefaultCALifetime, "of a new CA")
	f.BoolVar(&dryRun, "dry-run", false, "say what would be written, and write nothing")
	return cmd
}

func writeChanges(w io.Writer, what, dir string, changes []certs.Change) error {
	for _, c := range changes {
		if _, err := fmt.Fprintf(w, "%s %s: %s\n", what, filepath.Join(dir, c.File), c.Why); err != nil {
			return err
		}
	}
	return nil
}

func newCertsRenewCommand() *cobra.Command {
	dir, force := "", false
	cmd := &cobra.Command{
		Use:   "renew --pki DIR",
		Short: "Renew the certificates of a PKI that have a third of their life left, or less",
		Long: "Renew the certificates of a PKI that have a third of their life left, or less. Names and lifetimes stay, the keys are new.\n" +
			"A certificate of another issuer is left alone. jobgate and API servers notice by themselves; nothing is restarted.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			renewals, err := certs.OpenPKI(dir).Renew(force)
			for _, r := range renewals {
				text := "left as it is: " + r.Why
				if r.Renewed {
					text = "renewed until " + r.Expires.UTC().Format(time.RFC3339) + ": " + r.Why
				}
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", filepath.Join(dir, r.File), text); err != nil {
					return err
				}
			}
			return err
		},
	}
	addPKIFlag(cmd, &dir)
	cmd.Flags().BoolVar(&force, "force", false, "renew what is not due yet, too")
	return cmd
}

func newCertsRotateCommand() *cobra.Command {
	dir, overlap := "", time.Duration(0)
	cmd := &cobra.Command{
		Use:   "rotate-ca --pki DIR [--overlap DURATION]",
		Short: "Replace the CA of a PKI in steps, so that nobody is refused; or say how far that has come",
		Long: "Replace the CA of a PKI in steps, so that nobody is refused; or say how far that has come.\n\n" +
			"The new CA is trusted at once. After the overlap it signs, and after another one the old CA is trusted no longer.\n" +
			"jobgate serve --pki takes the later steps by itself; without it, run the command again when they are due.\n" +
			"API servers from 1.36 on read ca.crt every 5 minutes. Older ones have to be restarted within the first overlap.\n" +
			"If somebody else has the CA's key, --overlap 0s takes all steps now; restart every API server then.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen := &overlap
			if !cmd.Flags().Changed("overlap") {
				chosen = nil
			}
			r, err := certs.OpenPKI(dir).RotateCA(chosen)
			if err := writeChanges(cmd.OutOrStdout(), "changed", dir, r.Changes); err != nil {
				return err
			}
			if errors.Is(err, certs.ErrOverlap) {
				return &statusError{code: statusUsage, err: err}
			}
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), rotationText(r))
			return err
		},
	}
	addPKIFlag(cmd, &dir)
	cmd.Flags().DurationVar(&overlap, "overlap", 0,
		"between the steps of a rotation that starts now (default 720h, or a twelfth of the CA's lifetime if that is less)")
	return cmd
}

// rotationText says how far a rotation has come, and what is to do.
func rotationText(r certs.Rotation) string {
	until := r.Until.UTC().Format(time.RFC3339)
	text := ""
	switch {
	case r.Stage == certs.Announced && r.Until.IsZero():
		text = fmt.Sprintf("CA %s is to be replaced by %s; the announcement is not complete", r.From, r.To)
	case r.Stage == certs.Announced:
		text = fmt.Sprintf("CA %s is trusted beside %s, and signs from %s on; restart API servers older than 1.36 before", r.To, r.From, until)
	case r.Stage == certs.TakenOver:
		text = fmt.Sprintf("CA %s signs; %s is trusted until %s", r.To, r.From, until)
	default:
		return fmt.Sprintf("CA %s signs; no rotation is under way", r.From)
	}
	if r.Overlap < certs.ReloadInterval {
		text += fmt.Sprintf("\nwarning: the overlap of %s is shorter than the %s in which an API server reads ca.crt again: "+
			"CI jobs may be refused meanwhile, or until it is restarted", r.Overlap, certs.ReloadInterval)
	}
	return text
}

// shown is what certs show prints.
type shown struct {
	Certificates []certs.Inspection `json:"certificates"`
	Rotation     *shownRotation     `json:"rotation,omitempty"`
}

type shownRotation struct {
	Stage   certs.Stage `json:"stage"`
	Message string      `json:"message"`
}

func newCertsShowCommand() *cobra.Command {
	dir, ca, output, warn := "", "", "", time.Duration(0)
	cmd := &cobra.Command{
		Use:   "show (--pki DIR | FILE...)",
		Short: "Show certificates of a PKI, or in any files, and what is wrong with them",
		Long: "Show certificates of a PKI, or in any files, and what is wrong with them.\n\n" +
			"Files of other issuers are verified against the CAs in --ca, or against those among the files; keys against the\n" +
			"certificates. The exit status is 0 when all is well, 1 when something is not (a certificate has expired, expires soon,\n" +
			"does not verify, cannot be read), 2 for bad usage.",
		RunE: func(cmd *cobra.Command, files []string) error {
			switch {
			case (dir == "") == (len(files) == 0):
				return &statusError{code: statusUsage, err: errors.New("certs show wants --pki or files, and not both")}
			case dir != "" && ca != "":
				return &statusError{code: statusUsage, err: errors.New("--ca is for files; a PKI has its own")}
			case output != "table" && output != "json":
				return &statusError{code: statusUsage, err: fmt.Errorf("--output is %q, want table or json", output)}
			}
			return show(cmd.OutOrStdout(), dir, files, ca, warn, output == "json")
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "pki", "", "the directory of a PKI")
	f.StringVar(&ca, "ca", "", "the CAs that the files' certificates have to verify against")
	f.DurationVar(&warn, "warn", 0, "an end nearer than this is a problem (default 720h, or a quarter of the certificate's lifetime if that is less)")
	f.StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func show(w io.Writer, dir string, files []string, ca string, warn time.Duration, asJSON bool) error {
	var s shown
	if dir == "" {
		s.Certificates = certs.InspectFiles(files, ca, warn)
	} else {
		pki := certs.OpenPKI(dir)
		s.Certificates = pki.Inspect(warn)
		// What keeps it from being told is among the certificates' problems.
		if r, err := pki.Rotation(); err == nil {
			s.Rotation = &shownRotation{Stage: r.Stage, Message: rotationText(r)}
		}
	}
	if err := s.write(w, asJSON); err != nil {
		return err
	}
	for _, c := range s.Certificates {
		if len(c.Problems) > 0 {
			return &statusError{code: statusTrouble}
		}
	}
	return nil
}

func (s *shown) write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(s)
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

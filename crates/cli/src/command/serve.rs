//! `serve`: the vault as a team's control plane.

use ringfence_engine::{EngineError, ExitClass, Protection, Settings, Vault};
use ringfence_server::run::{self, Options, ServeError, Told};
#[cfg(feature = "acme")]
use ringfence_server::{run::AcmeOptions, serve::acme::AcmeError};
use serde_json::json;

use crate::{
    args::{Format, team::ServeArgs},
    output::Printer,
    place,
};

/// Serves until it is told to stop. Settings live as long as the process, because its threads use them.
pub(crate) fn serve(
    settings: &'static Settings<'static>,
    printer: Printer,
    args: &ServeArgs,
) -> Result<ExitClass, EngineError> {
    let protection = if place::passphrase_is_given() { Protection::Passphrase } else { Protection::KeyFile };
    drop(Vault::open_or_init(settings, protection)?);
    let options = Options {
        listen: args.listen,
        hosts: args.hosts.clone(),
        certificate: args.certificate.clone().zip(args.key.clone()),
        #[cfg(feature = "acme")]
        acme: args.acme.clone().map(|directory| AcmeOptions {
            directory,
            contact: args.acme_contact.clone(),
            roots: args.acme_roots.clone(),
        }),
    };
    run::serve(settings, &options, place::now, &mut |told| tell(printer, &told)).map_err(error)?;
    Ok(ExitClass::Done)
}

/// Says it, if there is still anybody who hears: a closed pipe does not stop a server.
fn tell(printer: Printer, told: &Told) {
    let _ = match (printer.format, told) {
        (Format::Json, Told::Listening { address, url, authority }) => {
            let (path, fingerprint) = authority.clone().unzip();
            printer.document(
                "ringfence.serve/1",
                &json!({"listening": address, "url": url, "authority": path,
                "fingerprint": fingerprint}),
            )
        }
        (Format::Json, Told::Setup(setup)) => {
            let token = setup.token.as_ref().map(|token| token.as_str());
            printer.document("ringfence.serve/1", &json!({"setup": token, "until": setup.until}))
        }
        (_, Told::Listening { url, authority, .. }) => {
            let whose = authority.as_ref().map_or_else(String::new, |(path, fingerprint)| {
                format!(
                    "\nCertificates are signed by {} (SHA-256 {fingerprint}).\nLet your browser trust that authority, or \
                     bring an own certificate with --certificate.",
                    path.display()
                )
            });
            printer.line(format!("Serving at {url}{whose}"))
        }
        (_, Told::Setup(setup)) => {
            let token = setup.token.as_ref().map_or("", |token| token.as_str());
            let until = setup.until.map_or_else(String::new, |until| until.to_string());
            printer.line(format!(
                "\nNobody administers this vault yet. Whoever opens the address above with this token does:\n\n    {token}\n\n\
                 It is good once, until {until}; start again for another one."
            ))
        }
        (Format::Json, Told::Certified(until)) => {
            printer.document("ringfence.serve/1", &json!({"certified_until": until}))
        }
        (_, Told::Certified(until)) => printer.line(format!("Certificate of the authority: good until {until}")),
        (_, Told::Uncertified { why, again_s }) => {
            let minutes = again_s / 60;
            printer.say(format!(
                "no certificate from the authority: {why}; asked again in {minutes} minutes, and the one before is served \
                 until it runs out, then the embedded authority's"
            ));
            Ok(())
        }
        (_, Told::Stopping) => {
            printer.say("stopping; what is under way may finish");
            Ok(())
        }
        (_, Told::Cut(count)) => {
            printer.say(format!("{count} connections were cut off"));
            Ok(())
        }
        _ => Ok(()),
    };
}

fn error(error: ServeError) -> EngineError {
    match error {
        ServeError::Engine(error) => error,
        ServeError::Exposure(why) => EngineError::NotPermitted { what: why.to_string() },
        #[cfg(feature = "acme")]
        ServeError::Acme(AcmeError::Name { .. }) => EngineError::Usage { what: error.to_string() },
        ServeError::Host(_) | ServeError::Party { .. } => EngineError::Usage { what: error.to_string() },
        other => EngineError::incomplete("serve", other),
    }
}

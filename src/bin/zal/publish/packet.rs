//! Messages on their way out: what goes with them and how large the packet is.

use rumqttc::{Publish, PublishOptions, PublishProperties, QoS};

/// A JSON message.
#[derive(Debug, Clone)]
pub struct Message {
    /// The whole topic.
    pub topic: String,
    /// The JSON.
    pub body: String,
    /// Delivery guarantee.
    pub qos: QoS,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
    /// MQTT 5 properties.
    pub properties: PublishProperties,
}

impl Message {
    /// QoS 1, not retained.
    pub fn new(topic: String, body: String) -> Self {
        let properties = PublishProperties {
            payload_format_indicator: Some(1),
            content_type: Some("application/json".into()),
            ..PublishProperties::default()
        };
        Self { topic, body, qos: QoS::AtLeastOnce, retain: false, properties }
    }

    /// Kept by the broker.
    pub fn retained(self) -> Self {
        Self { retain: true, ..self }
    }

    /// Bytes of the whole packet, at most three too many.
    pub fn size_bytes(&self) -> usize {
        let mut packet = Publish::new(self.topic.clone(), self.qos, "", Some(self.properties.clone()));
        packet.pkid = 1;
        // The remaining length may take three bytes more than for an empty body.
        packet.size() + self.body.len() + 3
    }

    /// As the client takes it: topic, body, options.
    pub fn into_parts(self) -> (String, String, PublishOptions) {
        let options = PublishOptions::new(self.qos).retain(self.retain).properties(self.properties);
        (self.topic, self.body, options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_that_of_the_real_packet_or_three_bytes_more() {
        for len in [0, 1, 100, 127, 128, 20_000, 3_000_000] {
            let message = Message::new("a/b".into(), "x".repeat(len));
            let mut packet =
                Publish::new("a/b", QoS::AtLeastOnce, message.body.clone(), Some(message.properties.clone()));
            packet.pkid = 7;
            let excess = message.size_bytes() - packet.size();
            assert!(excess <= 3, "{excess} bytes more for {len}");
        }
    }
}


aroot"_tf_keras_sequential*C{"name": "m", "class_name": "Sequential", "config": {"layers": []}}
è
root.layer"_tf_keras_layer*n{"class_name": "Lambda", "config": {"function": {"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}}}